// Text of others on a terminal.
#include "tools/printable.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <iostream>
#include <sstream>

#include "tools/table.h"
#include "xl-plugin/console.h"

namespace {

using namespace specrep::tools;

// It clears the screen, sets the window's title, and is 8-bit CSI in UTF-8.
const std::string kHostile = "a\x1b[2J\x1b]0;b\x07\r\n\xc2\x9b\x7f";

bool has_control_character(const std::string& text) {
  return text.find_first_of("\x1b\x07\r\x9b\x7f") != std::string::npos;
}

// What is written to a stream while this is alive.
class Captured {
 public:
  explicit Captured(std::ostream& stream) : stream_(stream), before_(stream.rdbuf(text_.rdbuf())) {}
  ~Captured() { stream_.rdbuf(before_); }
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::ostream& stream_;
  std::streambuf* before_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(tools_printable)

BOOST_AUTO_TEST_CASE(control_characters_go_and_all_else_stays) {
  BOOST_TEST(printable(kHostile) == "a?[2J?]0;b?? ??");
  BOOST_TEST(printable(std::string("a\0b", 3)) == "a?b");
  const std::string text = "h2: 3 MiB, \xc3\x80\xc3\x9f \xc2\xa0\xe2\x80\x9c\xf0\x9f\x98\x80";
  BOOST_TEST(printable(text) == text);
  BOOST_TEST(printable("\xc2") == "\xc2");
  BOOST_TEST(printable("") == "");
  BOOST_TEST(printable_ascii("a\xc3\x9f\x1b~") == "a???~");
}

BOOST_AUTO_TEST_CASE(what_another_host_says_moves_no_cursor) {
  const Captured out(std::cout), err(std::cerr);
  specrep::xl::Console console("remus-spec", false);
  console.say(kHostile);
  console.warn(kHostile, kHostile);
  console.error(kHostile, kHostile);
  console.relay("h2", kHostile);
  BOOST_TEST(!has_control_character(out.text()));
  BOOST_TEST(!has_control_character(err.text()));
  BOOST_TEST(std::ranges::count(out.text(), '\n') == 1);
  BOOST_TEST(std::ranges::count(err.text(), '\n') == 5);

  Table table({{"SUBJECT"}, {"FINDING"}});
  table.add({kHostile, kHostile});
  table.note(kHostile);
  BOOST_TEST(!has_control_character(table.text()));
  BOOST_TEST(std::ranges::count(table.text(), '\n') == 3);
}

// ssh's may be in any encoding.
BOOST_AUTO_TEST_CASE(an_event_with_what_is_no_utf8_is_printed) {
  const Captured out(std::cout);
  specrep::xl::Console("remus-spec", true).event({{"said", "a\xff\x1b"}});
  BOOST_TEST(out.text() == "{\"said\":\"a\xef\xbf\xbd\\u001b\"}\n");
}

BOOST_AUTO_TEST_SUITE_END()
