#include <prometheus/text_serializer.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "folder.h"
#include "tools/event_log.h"
#include "tools/exporter/metrics.h"

namespace {

using namespace specrep::tools;
using exporter::EventCounter;
using nlohmann::json;
namespace fs = std::filesystem;

json entry(const std::string& name, const std::string& role, json status) {
  return {{"uuid", "u"},  {"name", name},         {"domid", 1},
          {"role", role}, {"state", "protected"}, {"peer", "xen2"},
          {"pid", 1},     {"alive", true},        {"status", std::move(status)}};
}

// As specrep-primary publishes it, as far as it is exported.
json full_status() {
  json recent = json::object(), sums = json::object();
  for (const char* key : {"epoch_ms", "pause_ms", "lag_ms", "output_delay_ms", "residual_pages",
                          "wasted_pages", "bytes_per_s"})
    recent[key] = 250.0;
  for (const char* key :
       {"epochs", "commits", "run_s", "suspend_s", "capture_s", "resume_s", "sampling_s", "lag_s",
        "written_pages", "residual_pages", "speculative_pages", "wasted_pages", "wire_bytes"})
    sums[key] = 1e15;
  return {{"recent", recent},
          {"sums", sums},
          {"pause_ms_max", 12.5},
          {"lag_epochs", 1},
          {"committed_epoch", 7},
          {"last_event_unix_s", 1764100127},
          {"output_dropped_frames", 0},
          {"pages_compared", 5},
          {"pages_different", 0},
          {"codecs",
           {{"delta", {{"pages", 3}, {"bytes", 99}}}, {"raw", {{"pages", 1}, {"bytes", 4096}}}}}};
}

std::string exposition(const json& entries,
                       const std::map<std::string, EventCounter::Counts>& events = {}) {
  return prometheus::TextSerializer().Serialize(exporter::metrics_of(entries, events));
}

// A strict reader of Prometheus's text format, version 0.0.4, as far as there are counters and
// gauges. Throws what is wrong.
std::map<std::string, double> parse(const std::string& text) {
  static const std::regex kName("[a-zA-Z_:][a-zA-Z0-9_:]*");
  static const std::regex kSample(
      R"re(([a-zA-Z_:][a-zA-Z0-9_:]*)(\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+))re");
  std::map<std::string, double> samples;
  std::set<std::string> ended;
  std::string family, type;
  std::istringstream lines(text);
  if (text.empty() || text.back() != '\n') throw std::runtime_error("no newline at the end");
  for (std::string line; std::getline(lines, line);) {
    const auto fail = [&](const std::string& why) { throw std::runtime_error(why + ": " + line); };
    std::smatch match;
    if (line.rfind("# HELP ", 0) == 0) {
      const std::string name = line.substr(7, line.find(' ', 7) - 7);
      if (!std::regex_match(name, kName)) fail("bad name");
      if (line.size() <= 8 + name.size()) fail("no help");
      if (!ended.insert(name).second) fail("a family that comes twice");
      family = name;
      type.clear();
    } else if (line.rfind("# TYPE ", 0) == 0) {
      std::istringstream words(line.substr(7));
      std::string name;
      words >> name >> type;
      if (name != family) fail("TYPE without HELP");
      if (type != "counter" && type != "gauge") fail("a type that we do not have");
      const bool total = name.size() > 6 && name.compare(name.size() - 6, 6, "_total") == 0;
      if ((type == "counter") != total) fail("counters, and only they, end in _total");
    } else if (std::regex_match(line, match, kSample)) {
      if (match[1] != family || type.empty()) fail("a sample outside its family");
      char* end = nullptr;
      const std::string number = match[4];
      const double value = std::strtod(number.c_str(), &end);
      if (*end != 0) fail("no number");
      if (!samples.emplace(std::string(match[1]) + std::string(match[2]), value).second)
        fail("a sample that comes twice");
    } else {
      fail("neither comment nor sample");
    }
  }
  return samples;
}

bool has_metric(const std::map<std::string, double>& samples, const std::string& name) {
  if (samples.contains(name)) return true;
  const auto it = samples.lower_bound(name + "{");
  return it != samples.end() && it->first.starts_with(name + "{");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(xen_exporter)

BOOST_AUTO_TEST_CASE(the_text_is_what_prometheus_reads) {
  json dead = entry("dead one", "primary", full_status());
  dead["alive"] = false;
  json odd = entry("odd\"\\\n\xc3\xa9", "backup", {{"committed_epoch", 3}, {"staged_pages", 4}});
  odd["state"] = "something-new";
  const json entries = {entry("web1", "primary", full_status()), dead, odd};
  const auto samples =
      parse(exposition(entries, {{"web1", {{{"failover", 2}, {"warning", 1}}, 1.5}}}));
  const std::string web1 = R"({guest="web1",role="primary"})";
  BOOST_TEST(samples.at("specrep_output_delay_seconds" + web1) == 0.25);
  BOOST_TEST(samples.at("specrep_wire_bytes_total" + web1) == 1e15);
  BOOST_TEST(samples.at("specrep_guest_protected" + web1) == 1);
  BOOST_TEST(samples.at(R"(specrep_failovers_total{guest="web1"})") == 2);
  BOOST_TEST(samples.at(R"(specrep_guest_state{guest="dead one",role="primary",state="dead"})") ==
             1);
  BOOST_TEST(
      samples.at(R"(specrep_sent_page_bytes_total{guest="web1",role="primary",encoding="raw"})") ==
      4096);
  BOOST_TEST(!samples.contains(R"(specrep_epoch_seconds{guest="dead one",role="primary"})"));
  BOOST_TEST(samples.at(R"(specrep_failovers_total{guest="dead one"})") == 0);
}

BOOST_AUTO_TEST_CASE(the_parser_of_this_test_is_strict) {
  for (const char* bad :
       {"x 1\n", "# HELP x y\n# TYPE x gauge\nx one\n",
        "# HELP x y\n# TYPE x gauge\nx{a=\"\n\"} 1\n", "# HELP x y\n# TYPE x counter\nx 1\n",
        "# HELP x y\n# TYPE x gauge\nx 1\nx 2\n", "# HELP x y\n# TYPE x gauge\nx 1"})
    BOOST_CHECK_THROW(parse(bad), std::runtime_error);
}

BOOST_AUTO_TEST_CASE(all_that_the_dashboard_asks_for_is_exported) {
  std::ifstream file(SPECREP_DASHBOARD);
  const json dashboard = json::parse(file);
  const auto samples = parse(exposition(
      {entry("web1", "primary", full_status()), entry("db", "backup", {{"committed_epoch", 3}})},
      {{"web1", {{{"failover", 1}, {"warning", 1}}, 1.5}}}));
  static const std::regex kMetric("specrep_[a-z_]+");
  std::size_t asked = 0;
  const std::function<void(const json&)> look = [&](const json& node) {
    for (const auto& [key, value] : node.items()) {
      if (value.is_structured()) look(value);
      if ((key != "expr" && key != "query") || !value.is_string()) continue;
      const std::string expression = value;
      for (std::sregex_iterator it(expression.begin(), expression.end(), kMetric), end; it != end;
           ++it, ++asked)
        BOOST_TEST(has_metric(samples, it->str()), it->str());
    }
  };
  look(dashboard);
  BOOST_TEST(asked >= 8u);
}

BOOST_AUTO_TEST_CASE(events_are_counted_once_across_a_rotation) {
  const specrep::Folder made;
  const fs::path& folder = made.path;
  const fs::path log = event_log_path("web1", folder);
  EventCounter counter(folder);
  BOOST_TEST(counter.update().empty());
  const auto add = [&](const char* event) {
    EventLog("web1", "backup", folder).add({{"event", event}});
  };
  const auto failovers = [&] { return counter.update().at("web1").by_event.at("failover"); };
  add("failover");
  add("figures");
  BOOST_TEST(failovers() == 1u);
  BOOST_TEST(failovers() == 1u);
  BOOST_TEST(!counter.update().at("web1").by_event.contains("figures"));
  add("failover");
  fs::rename(log, log.string() + ".1");
  add("failover");
  BOOST_TEST(failovers() == 3u);
  std::ofstream(log, std::ios::app) << R"({"event":"failover",)";  // not whole yet
  BOOST_TEST(failovers() == 3u);
  std::ofstream(log, std::ios::app) << R"("time":"2026-11-25T19:48:47Z"})"
                                    << "\n";
  BOOST_TEST(failovers() == 4u);
  BOOST_TEST(counter.update().at("web1").last_failover_unix_s ==
             *unix_time("2026-11-25T19:48:47Z"));
  fs::remove_all(folder);
}

BOOST_AUTO_TEST_SUITE_END()
