#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace specrep::tools {

inline constexpr const char* kLogFolder = "/var/log/specrep";

// What happens to a guest's protection on this host, as lines of JSON in kLogFolder/NAME.events
// (root's alone): an object each with "time" (UTC, ISO 8601), "role" ("primary" or "backup") and
// "event"; doc/xl-remus-spec.8 lists the events. Several processes may write to it at once. At
// kBytesMax it becomes NAME.events.1, and the one before that goes.
//
// Written on a thread of its own: a disk that hangs must not hold up who protects a guest. What
// cannot be written is dropped.
class EventLog {
 public:
  EventLog(const std::string& guest_name, const std::string& role,
           const std::filesystem::path& folder = kLogFolder);
  // Waits until all is written, for kFlushMax at most.
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // An object with "event" in it. Never blocks and never throws.
  void add(nlohmann::json event) noexcept;

  static constexpr std::size_t kBytesMax = 16 << 20;
  static constexpr std::size_t kWaitingMax = 1024;  // lines
  static constexpr std::chrono::milliseconds kFlushMax{2000};

 private:
  // Shared with the thread, which may outlive this object when the disk hangs.
  struct Shared {
    std::filesystem::path path;
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::string> waiting;
    bool writing = false, ending = false;
  };
  static void write_all(Shared& shared);

  const std::string role_;
  std::shared_ptr<Shared> shared_;
};

// Where the log of a guest is.
std::filesystem::path event_log_path(const std::string& guest_name,
                                     const std::filesystem::path& folder = kLogFolder);

struct ReadLog {
  std::vector<nlohmann::json> events;  // in the order of the file; each has "time" and "event"
  std::size_t bad_lines = 0;           // a power cut may leave some
};
// Throws Error when the file cannot be read.
ReadLog read_event_log(const std::filesystem::path& file);

// "2026-11-25T19:48:47.123Z", and back to seconds since 1970; nothing if it is not of that form.
std::string utc_time(double unix_s);
std::optional<double> unix_time(const std::string& utc);

double unix_now();

}  // namespace specrep::tools
