#include <boost/test/unit_test.hpp>
#include <sstream>

#include "xl-plugin/top_view.h"

namespace {

using namespace specrep::xl;
using nlohmann::json;

json primary(const std::string& name) {
  return {{"uuid", name + "-uuid"},
          {"name", name},
          {"domid", 7},
          {"role", "primary"},
          {"state", "protected"},
          {"peer", "xen2"},
          {"pid", 1},
          {"alive", true},
          {"status",
           {{"committed_epoch", 12345},
            {"last_event", "protected"},
            {"last_event_unix_s", 900},
            {"recent",
             {{"epoch_ms", 200.25},
              {"pause_ms", 3.14},
              {"output_delay_ms", 210.5},
              {"residual_pages", 12.0},
              {"wasted_pages", 34567.8},
              {"bytes_per_s", 3.5e6},
              {"lag_ms", 7.1},
              {"suspend_ms", 1.5},
              {"capture_ms", 1.25},
              {"resume_ms", 0.39},
              {"written_pages", 1e6}}}}}};
}

json backup(const std::string& name) {
  json entry = primary(name);
  entry["role"] = "backup";
  entry["status"] = {{"committed_epoch", 5},
                     {"pages_per_epoch", 10},
                     {"staged_pages", 3},
                     {"lag_epochs", 1},
                     {"last_event", "protected"}};
  return entry;
}

std::string shown(const json& entries, TopOptions options, const Trends& trends = {}) {
  options.host = "xen1";
  options.now_unix_s = 1000;
  return plain_text(top_view(entries, trends, options));
}

// In characters, not bytes.
std::size_t widest(const std::string& text) {
  std::istringstream lines(text);
  std::size_t widest = 0;
  for (std::string line; std::getline(lines, line);)
    widest = std::max(widest,
                      static_cast<std::size_t>(std::count_if(line.begin(), line.end(), [](char c) {
                        return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
                      })));
  return widest;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(xl_top_view)

BOOST_AUTO_TEST_CASE(every_figure_is_there_in_80_columns) {
  const std::string text = shown(json::array({primary("web1")}), {});
  for (const char* part : {"xen1", "00:16:40 UTC", "web1", "protected", " 200 ", " 3.1 ", "210 ",
                           " 12.0 ", " 34568 ", " 3.5 ", " 7.1", "protected, 1 min ago", "xen2"})
    BOOST_TEST(has(text, part), part << " is not in\n" << text);
  BOOST_TEST(widest(text) <= 80u);
}

BOOST_AUTO_TEST_CASE(no_line_is_wider_than_the_terminal) {
  json entries = {primary(std::string(40, 'n')), backup("b"), backup(std::string(300, 'x'))};
  entries[0]["status"]["last_event"] = std::string(500, 'e');
  entries[0]["peer"] = std::string(200, 'p');
  for (std::size_t columns = 1; columns < 260; ++columns) {
    TopOptions options;
    options.columns = columns;
    options.unicode = true;
    const std::size_t most = std::clamp(columns, kTopColumnsMin, kTopColumnsMax);
    BOOST_TEST(widest(shown(entries, options)) <= most, "at " << columns << " columns");
  }
}

BOOST_AUTO_TEST_CASE(a_wide_terminal_has_more_figures_and_a_trend) {
  TopOptions options;
  options.columns = 200;
  options.unicode = true;
  Trends trends;
  json entries = json::array({primary("web1")});
  for (int i = 0; i < 40; ++i) {
    entries[0]["status"]["recent"]["output_delay_ms"] = i;
    follow(trends, entries);
  }
  BOOST_TEST(trends["web1-uuid"].size() == kTrendMax);
  const std::string text = shown(entries, options, trends);
  for (const char* part : {"LAST EVENT", "SUSPEND", " 1.5 ", "CAPTURE", "12345", "1000k", "█"})
    BOOST_TEST(has(text, part), part << " is not in\n" << text);
  options.unicode = false;
  BOOST_TEST(!has(shown(entries, options, trends), "█"));
}

BOOST_AUTO_TEST_CASE(guests_that_are_gone_have_no_trend) {
  Trends trends;
  follow(trends, json::array({primary("a"), primary("b")}));
  follow(trends, json::array({primary("b")}));
  BOOST_TEST(trends.size() == 1u);
  BOOST_TEST(trends["b-uuid"].size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_dead_protection_says_what_to_do) {
  json entry = primary("web1");
  entry["alive"] = false;
  const std::string text = shown(json::array({entry}), {});
  BOOST_TEST(has(text, "dead"));
  BOOST_TEST(has(text, "xl remus-spec-stop web1"));
}

BOOST_AUTO_TEST_CASE(what_is_not_known_is_a_dash) {
  json entry = primary("web1");
  entry["status"] = json::object();
  BOOST_TEST(has(shown(json::array({entry}), {}), "     -"));
  entry["status"] = {{"recent", "nonsense"}, {"last_event", 5}};
  BOOST_TEST(has(shown(json::array({entry}), {}), "     -"));
  BOOST_TEST(has(shown(json::array(), {}), "xl remus-spec DOMAIN HOST"));
}

BOOST_AUTO_TEST_CASE(text_of_others_cannot_command_the_terminal) {
  json entry = primary("evil\x1b[2J\n\xff");
  entry["peer"] = "\x07";
  const std::string text = shown(json::array({entry}), {});
  BOOST_TEST(has(text, "evil?[2J??"));
  BOOST_TEST(!has(text, "\x1b"));
}

BOOST_AUTO_TEST_CASE(more_guests_than_rows_are_said_to_be_there) {
  json entries = json::array();
  for (int i = 0; i < 30; ++i) entries.push_back(primary("guest" + std::to_string(i)));
  TopOptions options;
  options.rows = 24;
  const auto lines = top_view(entries, {}, options);
  BOOST_TEST(lines.size() == 24u);
  BOOST_TEST(has(plain_text(lines), "a taller terminal"));
}

BOOST_AUTO_TEST_SUITE_END()
