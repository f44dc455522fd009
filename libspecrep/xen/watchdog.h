#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "libspecrep/xen/handles.h"

namespace specrep::xen {

// Fences this host: Xen restarts it when nobody has fed dom0's watchdog for a while (xc_watchdog(),
// SCHEDOP_watchdog), as when dom0 hangs. Xen has two such timers for a domain. All protections of
// this host share one; the last of them disarms it. The agent has the other one, for guests that
// are restarted elsewhere. Who feeds one is told by locks on its file, /run/specrep/watchdog or
// /run/specrep/agent.watchdog, which go with their process.
class Watchdog {
 public:
  enum class Timer { kProtections, kAgent };
  // Whether it is to be fed now; called from another thread, several times within `timeout`.
  using May = std::function<bool()>;

  // Arms it, and feeds it from a thread of its own, so that it stops being fed when the process
  // does not get to run at all, or when `may` says so. One that a process before this one has left
  // armed is only fed. With several feeders the one with the
  // longest time counts. Throws Error with advice when Xen has no timer left.
  explicit Watchdog(
      std::chrono::seconds timeout, Timer timer = Timer::kProtections,
      May may = [] { return true; });
  ~Watchdog();
  // It is not to be disarmed in the end: Xen restarts the host unless somebody else feeds it.
  void leave_armed() { leave_armed_ = true; }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // For one who outlives a process that fed the protections' and was killed: that is no reason to
  // restart the host. Throws Error.
  static void disarm_unless_fed();

 private:
  void feed();

  const std::chrono::seconds timeout_;
  const May may_;
  Xenctrl xc_;
  int file_ = -1;
  std::uint32_t timer_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  bool leave_armed_ = false;
  std::thread feeder_;
};

}  // namespace specrep::xen
