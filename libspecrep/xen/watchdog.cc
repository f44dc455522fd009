#include "libspecrep/xen/watchdog.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "libspecrep/error.h"

namespace specrep::xen {

namespace {

constexpr const char* kFolder = "/run/specrep";

const char* file_of(Watchdog::Timer timer) {
  return timer == Watchdog::Timer::kAgent ? "/run/specrep/agent.watchdog" : "/run/specrep/watchdog";
}

// Tries within one timeout.
constexpr int kFeedsPerTimeout = 4;
// Bytes of the file, which need not exist. The first has a read lock of each feeder; the second is
// held by who arms or disarms.
enum LockedByte : off_t { kFed = 0, kChange = 1 };

bool lock(int file, LockedByte byte, short type, bool wait) {
  struct flock how {};
  how.l_type = type;
  how.l_whence = SEEK_SET;
  how.l_start = byte;
  how.l_len = 1;
  while (fcntl(file, wait ? F_OFD_SETLKW : F_OFD_SETLK, &how) != 0) {
    if (errno == EINTR) continue;
    if (!wait && (errno == EAGAIN || errno == EACCES)) return false;
    throw Error(errno_text("locking a watchdog's file in " + std::string(kFolder)));
  }
  return true;
}

// The timer that was armed last, by whomever; 0: none.
std::uint32_t noted_timer(int file) {
  char text[16] = {};
  return pread(file, text, sizeof text - 1, 0) > 0
             ? static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10))
             : 0;
}

void note_timer(int file, std::uint32_t timer) {
  const std::string text = timer ? std::to_string(timer) + "\n" : "";
  if (ftruncate(file, 0) ||
      pwrite(file, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    throw Error(errno_text("writing a watchdog's file in " + std::string(kFolder)));
}

int open_file(Watchdog::Timer timer, int flags) {
  if (mkdir(kFolder, 0700) != 0 && errno != EEXIST)
    throw Error(errno_text("making " + std::string(kFolder)), "run this as root");
  const int file = open(file_of(timer), O_RDWR | O_CLOEXEC | flags, 0600);
  if (file < 0 && errno != ENOENT)
    throw Error(errno_text("opening " + std::string(file_of(timer))));
  return file;
}

// Gives up our share, if we have one.
void disarm_if_last(const Xenctrl& xc, int file) {
  lock(file, kChange, F_WRLCK, true);
  if (lock(file, kFed, F_WRLCK, false)) {
    if (const std::uint32_t timer = noted_timer(file)) {
      note_timer(file, 0);
      if (xc_watchdog(xc.get(), timer, 0))
        throw Error(errno_text("disarming the watchdog"),
                    "unless that works, Xen restarts this host within seconds");
    }
  }
  lock(file, kFed, F_UNLCK, true);
  lock(file, kChange, F_UNLCK, true);
}

}  // namespace

Watchdog::Watchdog(std::chrono::seconds timeout, Timer timer, May may)
    : timeout_(timeout), may_(std::move(may)), file_(open_file(timer, O_CREAT)) {
  try {
    lock(file_, kChange, F_WRLCK, true);
    lock(file_, kFed, F_RDLCK, true);
    const auto seconds = static_cast<std::uint32_t>(timeout.count());
    timer_ = noted_timer(file_);
    if (timer_ == 0 || (may_() && xc_watchdog(xc_.get(), timer_, seconds))) {
      const int made = xc_watchdog(xc_.get(), 0, seconds);
      if (made <= 0)
        throw Error(errno_text("Xen has no watchdog left for dom0"),
                    "it has two, one for protections and one for the pool's agent: see whether "
                    "xenwatchdogd runs, or do without fencing");
      timer_ = static_cast<std::uint32_t>(made);
      note_timer(file_, timer_);
    }
    lock(file_, kChange, F_UNLCK, true);
    feeder_ = std::thread([this] { feed(); });
  } catch (...) {
    close(file_);
    throw;
  }
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard guard(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  feeder_.join();
  try {
    if (!leave_armed_) disarm_if_last(xc_, file_);
  } catch (const Error& error) {
    spdlog::error("{}; {}", error.what(), error.advice());
  }
  close(file_);
}

void Watchdog::feed() {
  std::unique_lock guard(mutex_);
  while (!changed_.wait_for(guard, timeout_ / double(kFeedsPerTimeout), [this] { return over_; }))
    if (may_() && xc_watchdog(xc_.get(), timer_, static_cast<std::uint32_t>(timeout_.count())))
      spdlog::error(errno_text("feeding the watchdog"));
}

void Watchdog::disarm_unless_fed() {
  const int file = open_file(Timer::kProtections, 0);
  if (file < 0) return;
  try {
    disarm_if_last(Xenctrl(), file);
  } catch (...) {
    close(file);
    throw;
  }
  close(file);
}

}  // namespace specrep::xen
