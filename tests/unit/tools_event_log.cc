#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fstream>

#include "folder.h"
#include "libspecrep/error.h"
#include "tools/event_log.h"

namespace {

using namespace specrep::tools;
using specrep::Folder;
namespace fs = std::filesystem;

}  // namespace

BOOST_AUTO_TEST_SUITE(tools_event_log)

BOOST_AUTO_TEST_CASE(events_have_time_and_role_and_come_back_in_order) {
  const Folder folder;
  {
    EventLog primary("web", "primary", folder.path), backup("web", "backup", folder.path);
    for (int i = 0; i < 200; ++i) primary.add({{"event", "figures"}, {"epoch", i}});
    backup.add({{"event", "started"}, {"what", "no\xffUTF-8"}});
  }
  const ReadLog log = read_event_log(event_log_path("web", folder.path));
  BOOST_TEST(log.bad_lines == 0u);
  BOOST_TEST_REQUIRE(log.events.size() == 201u);
  int next = 0;
  for (const auto& event : log.events) {
    BOOST_TEST(std::abs(*unix_time(event["time"]) - unix_now()) < 60);
    if (event["role"] == "primary") BOOST_TEST(event["epoch"] == next++);
  }
  BOOST_TEST(next == 200);
  struct stat info {};
  BOOST_TEST_REQUIRE(stat(event_log_path("web", folder.path).c_str(), &info) == 0);
  BOOST_TEST((info.st_mode & 0777) == 0600u);
}

BOOST_AUTO_TEST_CASE(a_log_that_is_full_is_kept_once) {
  const Folder folder;
  const fs::path path = event_log_path("web", folder.path);
  std::ofstream(path) << "{}\n";
  fs::resize_file(path, EventLog::kBytesMax);
  std::ofstream(path.string() + ".1") << "older\n";
  EventLog("web", "primary", folder.path).add({{"event", "started"}});
  BOOST_TEST(read_event_log(path).events.size() == 1u);
  BOOST_TEST(fs::file_size(path.string() + ".1") == EventLog::kBytesMax);
}

BOOST_AUTO_TEST_CASE(a_line_that_was_torn_by_a_power_cut_costs_no_other) {
  const Folder folder;
  const fs::path path = event_log_path("web", folder.path);
  std::ofstream(path) << R"({"event":"started","time":"2026-11-25T19:48:47.123Z"})"
                      << "\n"
                      << R"({"event":"figu)";
  EventLog("web", "primary", folder.path).add({{"event", "ended"}});
  const ReadLog log = read_event_log(path);
  BOOST_TEST(log.bad_lines == 1u);
  BOOST_TEST_REQUIRE(log.events.size() == 2u);
  BOOST_TEST(log.events[1]["event"] == "ended");
}

BOOST_AUTO_TEST_CASE(what_is_no_event_is_counted) {
  const Folder folder;
  const fs::path path = folder.path / "x.events";
  std::ofstream(path)
      << "[]\n{\"event\":1}\n{\"event\":\"a\",\"time\":\"yesterday\"}\n\xff\xfe\n\n";
  BOOST_TEST(read_event_log(path).bad_lines == 4u);
  BOOST_CHECK_THROW(read_event_log(folder.path / "none"), specrep::Error);
  BOOST_CHECK_THROW(read_event_log(folder.path), specrep::Error);
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_written_holds_nobody_up) {
  EventLog log("web", "primary", "/proc/nowhere");
  for (int i = 0; i < 5000; ++i) log.add({{"event", "figures"}});
}

BOOST_AUTO_TEST_CASE(a_name_stays_in_the_folder) {
  BOOST_TEST(event_log_path("../../etc/x", "/f") == fs::path("/f/.._.._etc_x.events"));
}

BOOST_AUTO_TEST_CASE(times_are_utc_to_the_millisecond) {
  BOOST_TEST(utc_time(0.0015) == "1970-01-01T00:00:00.001Z");
  BOOST_TEST(utc_time(1764100127.9999) == "2025-11-25T19:48:47.999Z");
  BOOST_TEST(std::abs(*unix_time("2025-11-25T19:48:47.500Z") - 1764100127.5) < 1e-6);
  BOOST_TEST(!unix_time("2025-11-25T19:48:47+01:00"));
  BOOST_TEST(!unix_time("2025-11-25"));
}

BOOST_AUTO_TEST_SUITE_END()
