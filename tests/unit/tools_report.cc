#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "tools/report/history.h"
#include "tools/svg.h"

namespace {

using namespace specrep::tools;
using namespace specrep::tools::report;
using nlohmann::json;

constexpr double kStart = 1'790'000'000;

json line(double at, const std::string& role, const std::string& event,
          json more = json::object()) {
  more["time"] = utc_time(kStart + at);
  more["role"] = role;
  more["event"] = event;
  return more;
}

json figures(double at, double delay_ms, double epochs = 5) {
  return line(at, "primary", "figures",
              {{"seconds", 1.0},
               {"epochs", epochs},
               {"epoch_ms", delay_ms},
               {"suspend_ms", 1},
               {"capture_ms", 2},
               {"resume_ms", 3},
               {"lag_ms", 4},
               {"residual_pages", 10},
               {"wasted_pages", 20},
               {"written_pages", 300},
               {"codecs", {{"delta", {{"bytes", 1000}}}, {"raw", {{"bytes", 4096}}}}}});
}

std::vector<State> states(const History& history) {
  std::vector<State> all;
  for (const Stretch& s : history.states) all.push_back(s.state);
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tools_report)

BOOST_AUTO_TEST_CASE(states_follow_the_events_without_gaps) {
  const History history = history_of(
      {line(0, "primary", "started", {{"peer", "xen2"}}),
       line(10, "primary", "protected", {{"seconds", 10}}), figures(11, 200),
       line(40, "primary", "settling"), line(41, "primary", "unprotected"),
       line(42, "primary", "ended", {{"reason", "backup-lost"}}), line(60, "primary", "started")});
  const std::vector<State> expected = {State::kFirstCopy, State::kProtected, State::kSettling,
                                       State::kUnprotected, State::kFirstCopy};
  BOOST_TEST((states(history) == expected));
  for (std::size_t i = 1; i < history.states.size(); ++i)
    BOOST_TEST(history.states[i].from == history.states[i - 1].to);
  BOOST_TEST(std::abs(history.seconds_in(State::kProtected) - 30) < 0.01);
  BOOST_TEST(std::abs(history.seconds_in(State::kUnprotected) - 19) < 0.01);
  BOOST_TEST(history.samples.size() == 1u);
  BOOST_TEST(history.events.size() == 6u);
  BOOST_TEST(history.samples[0].delay_ms() == 200 + 6 + 4);
}

BOOST_AUTO_TEST_CASE(a_host_that_lost_its_power_has_no_record_until_it_is_back) {
  const History history =
      history_of({line(0, "primary", "started"), line(10, "primary", "protected"), figures(20, 200),
                  line(100, "primary", "started")});
  const std::vector<State> expected = {State::kFirstCopy, State::kProtected, State::kUnknown,
                                       State::kFirstCopy};
  BOOST_TEST((states(history) == expected));
  BOOST_TEST(std::abs(history.seconds_in(State::kProtected) - 10) < 0.01);
}

BOOST_AUTO_TEST_CASE(a_backup_takes_over_and_protects_in_turn) {
  const History history = history_of(
      {line(0, "backup", "started"), line(5, "backup", "protected"),
       line(50, "backup", "primary-lost"), line(51, "backup", "failover", {{"reason", "silence"}}),
       line(90, "primary", "started"), line(99, "primary", "protected"),
       line(120, "primary", "ended")});
  const std::vector<State> expected = {State::kCopyMade,   State::kCopyKept,  State::kTakingOver,
                                       State::kRunsHere,   State::kFirstCopy, State::kProtected,
                                       State::kUnprotected};
  auto got = states(history);
  // The last event begins a stretch that has no length yet.
  BOOST_TEST((got == expected));
  BOOST_TEST(history.count("failover") == 1u);
}

BOOST_AUTO_TEST_CASE(thinning_keeps_means_and_gaps) {
  std::vector<json> lines = {line(0, "primary", "started")};
  for (int i = 1; i <= 100; ++i) lines.push_back(figures(i, i));
  for (int i = 500; i < 600; ++i) lines.push_back(figures(i, 7));
  const History history = history_of(lines);
  const auto thin = thin_out(history.samples, 20);
  BOOST_TEST(thin.size() == 20u);
  double sum = 0, epochs = 0;
  for (const Sample& s : thin) sum += s.epoch_ms * s.epochs, epochs += s.epochs;
  BOOST_TEST(epochs == 1000);
  BOOST_TEST(std::abs(sum / epochs - (50.5 * 100 + 700) / 200) < 1e-9);
  BOOST_TEST(std::abs(thin[0].codec_bytes_per_s[2] - 4096) < 1e-6);
  std::size_t gaps = 0;
  for (std::size_t i = 1; i < thin.size(); ++i) gaps += is_gap(thin[i - 1], thin[i]);
  BOOST_TEST(gaps == 1u);
}

BOOST_AUTO_TEST_CASE(what_a_log_says_is_text_in_the_page) {
  const std::string evil = "</svg><script>alert(1)</script>&\"'\x01";
  const History history = history_of(
      {line(0, evil, "started", {{"what", evil}}), line(1, "primary", evil), figures(2, 200)});
  const std::string html = page(history, evil, evil, 3);
  BOOST_TEST(html.find("<script") == std::string::npos);
  BOOST_TEST(html.find('\x01') == std::string::npos);
  BOOST_TEST(html.find("&lt;script&gt;alert(1)") != std::string::npos);
  BOOST_TEST(html.find("3 lines of the log could not be read") != std::string::npos);
  // It needs nothing from the network.
  for (const char* part : {"http:", "https:", "src=", "url(", "@import", "<link"})
    BOOST_TEST(html.find(part) == std::string::npos, part);
}

BOOST_AUTO_TEST_CASE(nonsense_in_a_log_makes_a_page_all_the_same) {
  for (const json& more :
       {json{{"codecs", "x"}}, json{{"codecs", {{"raw", 5}}}}, json{{"epochs", "many"}},
        json{{"seconds", -1}}, json{{"epoch_ms", nullptr}}}) {
    const History history =
        history_of({line(0, "primary", "figures", more), line(0, "", "ended", more)});
    BOOST_TEST(page(history, "g", "f", 0).find("nan") == std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(a_chart_breaks_its_lines_at_gaps) {
  Svg svg;
  const double gap = std::nan("");
  svg.chart({"",
             "x",
             "y",
             {{"line", "red", {{0, 1}, {1, 2}, {2, gap}, {3, 1}, {4, 1}}},
              {"area", "blue", {{0, 1}, {1, 2}, {2, gap}, {3, 1}}, Svg::Kind::kArea}}});
  const std::string text = svg.element("x", "label");
  const auto count = [&](const std::string& part) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++n;
    return n;
  };
  BOOST_TEST(count("<polyline") == 2u);
  BOOST_TEST(count("class=\"area\"") == 2u);
  BOOST_TEST(count("nan") == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
