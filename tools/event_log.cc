#include "tools/event_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>
#include <thread>

#include "libspecrep/error.h"

namespace specrep::tools {

namespace {

using nlohmann::json;

// Opens the log, locked against the other processes that write to it; -1 if that cannot be. A file
// that has grown to its size is moved away first.
int open_locked(const std::filesystem::path& path) {
  for (;;) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -1;
    struct stat ours {
    }, there{};
    if (flock(fd, LOCK_EX) != 0 || fstat(fd, &ours) != 0) {
      close(fd);
      return -1;
    }
    // Another process may have moved it away between our open() and our lock.
    const bool in_place = stat(path.c_str(), &there) == 0 && ours.st_ino == there.st_ino;
    if (in_place && static_cast<std::size_t>(ours.st_size) < EventLog::kBytesMax) return fd;
    if (in_place && rename(path.c_str(), (path.string() + ".1").c_str()) != 0) {
      close(fd);
      return -1;
    }
    close(fd);
  }
}

void append(const std::filesystem::path& path, std::string lines) {
  const int fd = open_locked(path);
  if (fd < 0) return;
  // A power cut may have left a line without its end, which would spoil the next.
  const off_t size = lseek(fd, 0, SEEK_END);
  char last = '\n';
  if (size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n') lines.insert(0, "\n");
  // Synced, since a host whose power is cut is what people will look for in it.
  if (write(fd, lines.data(), lines.size()) > 0) fdatasync(fd);
  close(fd);
}

}  // namespace

EventLog::EventLog(const std::string& guest_name, const std::string& role,
                   const std::filesystem::path& folder)
    : role_(role), shared_(std::make_shared<Shared>()) {
  mkdir(folder.c_str(), 0700);
  shared_->path = event_log_path(guest_name, folder);
  std::thread([shared = shared_] { write_all(*shared); }).detach();
}

EventLog::~EventLog() {
  std::unique_lock lock(shared_->mutex);
  shared_->ending = true;
  shared_->changed.notify_all();
  shared_->changed.wait_for(lock, kFlushMax,
                            [&] { return shared_->waiting.empty() && !shared_->writing; });
}

void EventLog::add(json event) noexcept try {
  event["time"] = utc_time(unix_now());
  event["role"] = role_;
  // What is not UTF-8 in a guest's name or a message must not end protection.
  std::string line = event.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  const std::lock_guard lock(shared_->mutex);
  if (shared_->waiting.size() >= kWaitingMax) return;
  shared_->waiting.push_back(std::move(line));
  shared_->changed.notify_all();
} catch (const std::exception&) {
}

void EventLog::write_all(Shared& shared) {
  std::unique_lock lock(shared.mutex);
  for (;;) {
    shared.changed.wait(lock, [&] { return shared.ending || !shared.waiting.empty(); });
    if (shared.waiting.empty()) return;
    std::string lines;
    for (const std::string& line : shared.waiting) lines += line;
    shared.waiting.clear();
    shared.writing = true;
    lock.unlock();
    append(shared.path, lines);
    lock.lock();
    shared.writing = false;
    shared.changed.notify_all();
  }
}

std::filesystem::path event_log_path(const std::string& guest_name,
                                     const std::filesystem::path& folder) {
  std::string name = guest_name;
  std::replace(name.begin(), name.end(), '/', '_');
  return folder / (name + ".events");
}

ReadLog read_event_log(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in || std::filesystem::is_directory(file))
    throw Error(errno_text("cannot read " + file.string(), in ? EISDIR : errno));
  ReadLog log;
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) continue;
    json event = json::parse(line, nullptr, false);
    const bool good = event.is_object() && event.contains("event") && event["event"].is_string() &&
                      event.contains("time") && event["time"].is_string() &&
                      unix_time(event["time"].get<std::string>());
    if (good)
      log.events.push_back(std::move(event));
    else
      ++log.bad_lines;
  }
  return log;
}

std::string utc_time(double unix_s) {
  const auto whole = static_cast<std::time_t>(std::floor(unix_s));
  const int ms = std::min(999, static_cast<int>((unix_s - static_cast<double>(whole)) * 1000));
  std::tm utc{};
  gmtime_r(&whole, &utc);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.", &utc);
  return text + std::to_string(1000 + ms).substr(1) + "Z";
}

std::optional<double> unix_time(const std::string& utc) {
  std::tm parts{};
  const char* rest = strptime(utc.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (!rest) return std::nullopt;
  double fraction = 0;
  if (*rest == '.') {
    char* end = nullptr;
    fraction = std::strtod(rest, &end);
    rest = end;
  }
  if (std::strcmp(rest, "Z") != 0) return std::nullopt;
  return static_cast<double>(timegm(&parts)) + fraction;
}

double unix_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace specrep::tools
