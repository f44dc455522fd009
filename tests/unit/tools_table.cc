#include <boost/test/unit_test.hpp>
#include <sstream>

#include "tools/table.h"

namespace {

using specrep::tools::kScreenColumns;
using specrep::tools::Table;
using specrep::tools::wrap;

std::size_t widest_line(const std::string& text) {
  std::istringstream lines(text);
  std::size_t widest = 0;
  for (std::string line; std::getline(lines, line);) widest = std::max(widest, line.size());
  return widest;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tools_table)

BOOST_AUTO_TEST_CASE(text_is_broken_at_blanks_and_long_words_where_they_must) {
  const std::vector<std::string> words = {"one two", "three"};
  BOOST_TEST(wrap("one two three", 8) == words, boost::test_tools::per_element());
  const std::vector<std::string> pieces = {"abcd", "efgh", "ij"};
  BOOST_TEST(wrap("abcdefghij", 4) == pieces, boost::test_tools::per_element());
  BOOST_TEST(wrap("", 4).size() == 1u);
}

BOOST_AUTO_TEST_CASE(columns_line_up_and_numbers_stand_right) {
  Table table({{"NAME"}, {"ID", true}, {"ROLE"}});
  table.add({"pvh", "7", "primary"});
  table.add({"a-longer-one", "12", "backup"});
  BOOST_TEST(table.text() ==
             "NAME          ID  ROLE\n"
             "pvh            7  primary\n"
             "a-longer-one  12  backup\n");
}

BOOST_AUTO_TEST_CASE(long_cells_are_cut_and_the_last_column_wraps_within_the_screen) {
  Table table({{"NAME", false, 8}, {"WHAT"}});
  table.add({"a-very-long-name", std::string(200, 'x') + " end"});
  table.note("-> " + std::string(100, 'y'));
  BOOST_TEST(table.text().find("a-very..") != std::string::npos);
  BOOST_TEST(widest_line(table.text()) <= kScreenColumns);
}

BOOST_AUTO_TEST_CASE(a_note_stands_under_the_last_column) {
  Table table({{"NAME"}, {"WHAT"}});
  table.add({"pvh", "stopped"});
  table.note("start it");
  BOOST_TEST(table.text() == "NAME  WHAT\npvh   stopped\n      start it\n");
}

BOOST_AUTO_TEST_CASE(a_number_in_the_last_column_stands_right_without_filling_the_screen) {
  Table table({{"NAME"}, {"LAG", true}});
  table.add({"pvh", "2"});
  BOOST_TEST(table.text() == "NAME  LAG\npvh     2\n");
}

BOOST_AUTO_TEST_SUITE_END()
