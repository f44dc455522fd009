#pragma once

#include <signal.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <string>

#include "libspecrep/clock.h"

namespace specrep::tools {

// Set by the signals of hold_stop_signals().
inline volatile sig_atomic_t stop_asked = 0;

// SIGTERM and SIGINT of a process with a single thread: none is lost, since they come only while
// it waits with the mask that this returns, as in ppoll().
inline sigset_t hold_stop_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop_asked = 1; };
  sigset_t held, before;
  sigemptyset(&held);
  for (const int number : {SIGTERM, SIGINT}) {
    sigaction(number, &action, nullptr);
    sigaddset(&held, number);
  }
  sigprocmask(SIG_BLOCK, &held, &before);
  return before;
}

// What a daemon tells systemd. Where it was not started by systemd nothing happens.
class ServiceManager {
 public:
  ServiceManager() {
    std::uint64_t watchdog_us = 0;
    if (sd_watchdog_enabled(0, &watchdog_us) > 0)
      beat_interval_ =
          std::min<Duration>(beat_interval_, std::chrono::microseconds(watchdog_us / 3));
  }

  void ready(const std::string& status) { sd_notify(0, ("READY=1\nSTATUS=" + status).c_str()); }
  void status(const std::string& status) { sd_notify(0, ("STATUS=" + status).c_str()); }
  // More time to stop, from now.
  void extend_timeout(std::uint64_t us) {
    sd_notify(0, ("EXTEND_TIMEOUT_USEC=" + std::to_string(us)).c_str());
  }
  void stopping() { sd_notify(0, "STOPPING=1"); }
  // To be called at least once in every beat_interval().
  void beat() { sd_notify(0, "WATCHDOG=1"); }
  Duration beat_interval() const { return beat_interval_; }

 private:
  Duration beat_interval_ = std::chrono::seconds(1);
};

}  // namespace specrep::tools
