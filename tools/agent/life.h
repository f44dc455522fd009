#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "libspecrep/pool/agent.h"
#include "libspecrep/pool/liveness.h"
#include "libspecrep/xen/watchdog.h"

namespace specrep::tools {

// Keeps this host's record with the arbiter, in a thread of its own, and the watchdog that ends the
// host when its restart guests may be started elsewhere and still run here; see pool::Liveness.
class Life {
 public:
  // Whether pool.conf asks for it.
  static bool is_wanted(const pool::Config& config);
  // Arms the watchdog. Throws Error.
  Life(const pool::Config& config, const std::string& host);
  // Disarms the watchdog if withdrawn(). If not, Xen restarts this host unless another Life begins.
  ~Life();
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  // Whether it is right for this pool.conf; then it is used.
  bool configure(const pool::Config& config);
  // To be called at least once a second.
  void see(pool::Liveness::Seen seen);
  pool::Agent::Life verdict() const;
  // With the arbiter; empty: none.
  std::string trouble() const;

  // This host is to be watched no more. What must be written for that is tried until it succeeds.
  void withdraw();
  bool withdrawn() const;

 private:
  void run();
  bool may_feed() const;

  const std::string url_;
  const std::chrono::seconds watch_;
  SteadyClock clock_;
  std::unique_ptr<arbiter::FenceStore> store_;
  pool::Liveness liveness_;  // the thread's, but for what the mutex is held

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<pool::Config> config_;  // a newer one, for the thread
  pool::Liveness::Seen seen_;
  TimePoint seen_at_{};
  pool::Liveness::Verdict verdict_;
  bool over_ = false, withdraw_ = false, withdrawn_ = false;

  std::unique_ptr<xen::Watchdog> watchdog_;
  std::thread thread_;
};

}  // namespace specrep::tools
