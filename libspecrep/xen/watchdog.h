#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "libspecrep/xen/handles.h"

namespace specrep::xen {

// Fences this host: Xen restarts it when nobody has fed dom0's watchdog for a while (xc_watchdog(),
// SCHEDOP_watchdog), as when dom0 hangs. Xen has two such timers for a domain, so all protections
// of this host share one; the last of them disarms it. Who feeds it is told by locks on
// /run/specrep/watchdog, which go with their process.
class Watchdog {
 public:
  // Arms it, and feeds it from a thread of its own, so that only a process that does not get to
  // run at all stops doing so. With several feeders the one with the longest time counts.
  // Throws Error with advice when Xen has no timer left.
  explicit Watchdog(std::chrono::seconds timeout);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // For one who outlives a process that fed it and was killed: that is no reason to restart the
  // host. Throws Error.
  static void disarm_unless_fed();

 private:
  void feed();

  const std::chrono::seconds timeout_;
  Xenctrl xc_;
  int file_ = -1;
  std::uint32_t timer_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread feeder_;
};

}  // namespace specrep::xen
