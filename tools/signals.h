#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace specrep::tools {

// SIGTERM, SIGINT and SIGHUP as a callback on a thread of its own. They are blocked in the
// whole process, so construct this before any other thread; SIGPIPE is ignored, since every
// write here looks at its result.
class StopSignals {
 public:
  explicit StopSignals(std::function<void()> on_stop) {
    std::signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set_);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set_, signal);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    // Detached: it waits for signals until the process ends.
    std::thread([set = set_, on_stop = std::move(on_stop)] {
      for (int signal = 0;;) {
        if (sigwait(&set, &signal) == 0) on_stop();
      }
    }).detach();
  }

 private:
  sigset_t set_;
};

}  // namespace specrep::tools
