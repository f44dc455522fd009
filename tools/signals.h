#pragma once

#include <pthread.h>

#include <atomic>
#include <csignal>
#include <mutex>
#include <thread>

#include "libspecrep/wire/link.h"

namespace specrep::tools {

// SIGTERM, SIGINT and SIGHUP as a request to stop that wakes whoever waits on a link, and SIGUSR1
// as one to fail over (xl remus-spec-failover). They are blocked in the whole process and waited
// for on a thread of their own, so construct this before any other thread, and keep it until the
// process ends. What is forked does not have them blocked: libxl ends the device models that it has
// started by SIGHUP. SIGPIPE is ignored, since every write here looks at its result.
class StopSignals {
 public:
  StopSignals() {
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set, signal);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    pthread_atfork(nullptr, nullptr, [] {
      sigset_t none;
      sigemptyset(&none);
      pthread_sigmask(SIG_SETMASK, &none, nullptr);
    });
    std::thread([this, set] {
      for (int signal = 0;;) {
        if (sigwait(&set, &signal)) continue;
        (signal == SIGUSR1 ? failover_ : requested_) = true;
        wake();
      }
    }).detach();
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  bool requested() const { return requested_; }
  // Whether a failover has been asked for since the last call.
  bool take_failover() { return failover_.exchange(false); }

  // The link whose wait() a signal ends, for as long as this lives. One at a time.
  class Wakes {
   public:
    Wakes(StopSignals& signals, wire::Link& link) : signals_(signals) { signals_.set(&link); }
    ~Wakes() { signals_.set(nullptr); }
    Wakes(const Wakes&) = delete;
    Wakes& operator=(const Wakes&) = delete;

   private:
    StopSignals& signals_;
  };

  // What a signal does to the link, for other threads that have news for it.
  void wake() {
    const std::lock_guard lock(mutex_);
    if (link_) link_->wake();
  }

 private:
  void set(wire::Link* link) {
    const std::lock_guard lock(mutex_);
    link_ = link;
  }

  std::atomic<bool> requested_ = false, failover_ = false;
  std::mutex mutex_;
  wire::Link* link_ = nullptr;
};

}  // namespace specrep::tools
