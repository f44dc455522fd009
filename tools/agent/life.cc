#include "tools/agent/life.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "libspecrep/error.h"
#include "libspecrep/pool/file.h"

namespace specrep::tools {

namespace {

// What an agent that is started anew has to know of the one before: that the arbiter may have a
// record of this host, which outlasts a boot, and until when restart guests may run here, in ns of
// the monotonic clock, which does not.
constexpr const char* kWatched = "/var/lib/specrep/agent.watched";
constexpr const char* kAliveUntil = "/run/specrep/agent.alive";

void write_alive_until(TimePoint alive_until) {
  const std::string made = std::string(kAliveUntil) + ".new";
  std::ofstream(made) << alive_until.time_since_epoch().count() << "\n";
  std::rename(made.c_str(), kAliveUntil);
}

// None: there is no record.
std::optional<TimePoint> read_alive_until(TimePoint after_boot) {
  if (access(kWatched, F_OK) != 0) return std::nullopt;
  std::ifstream file(kAliveUntil);
  if (std::int64_t ns = 0; file >> ns) return TimePoint(Duration(ns));
  // So that it is not put off by each agent that is started.
  write_alive_until(after_boot);
  return after_boot;
}

void forget() {
  std::remove(kWatched);
  std::remove(kAliveUntil);
}

}  // namespace

bool Life::is_wanted(const pool::Config& config) {
  return config.ha.enabled && config.ha.fences_hosts() &&
         std::any_of(config.vms.begin(), config.vms.end(), [](const pool::Vm& vm) {
           return vm.protection == pool::Protection::kRestart;
         });
}

Life::Life(const pool::Config& config, const std::string& host)
    : url_(config.ha.arbiter),
      watch_(config.ha.watchdog_s),
      store_(arbiter::make_store(url_)),
      liveness_(host, watch_, *store_, clock_, read_alive_until(clock_.now() + watch_),
                [] { pool::replace_file(kWatched, "", 0600); }),
      config_(config) {
  verdict_.alive_until = liveness_.alive_until_before();
  seen_.has_restart_guests = true;  // until somebody has looked
  watchdog_ = std::make_unique<xen::Watchdog>(watch_, xen::Watchdog::Timer::kAgent,
                                              [this] { return may_feed(); });
  thread_ = std::thread([this] { run(); });
}

Life::~Life() {
  {
    const std::lock_guard guard(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (!withdrawn_) watchdog_->leave_armed();
  watchdog_.reset();
}

bool Life::configure(const pool::Config& config) {
  if (!is_wanted(config) || config.ha.arbiter != url_ || config.ha.watchdog_s != watch_.count())
    return false;
  const std::lock_guard guard(mutex_);
  config_ = config;
  return true;
}

void Life::see(pool::Liveness::Seen seen) {
  const std::lock_guard guard(mutex_);
  seen_ = std::move(seen);
  seen_at_ = clock_.now();
}

pool::Agent::Life Life::verdict() const {
  const std::lock_guard guard(mutex_);
  return {clock_.now() >= verdict_.alive_until - watch_ / pool::Liveness::kGiveUpShare,
          verdict_.set_back, verdict_.dead};
}

std::string Life::trouble() const {
  const std::lock_guard guard(mutex_);
  return verdict_.trouble;
}

// What runs here is known only as long as somebody looks.
bool Life::may_feed() const {
  const std::lock_guard guard(mutex_);
  const TimePoint now = clock_.now();
  return now < verdict_.alive_until || (!seen_.has_restart_guests && now - seen_at_ < watch_ / 2);
}

void Life::withdraw() {
  {
    const std::lock_guard guard(mutex_);
    withdraw_ = true;
  }
  changed_.notify_all();
}

bool Life::withdrawn() const {
  const std::lock_guard guard(mutex_);
  return withdrawn_;
}

void Life::run() {
  std::unique_lock guard(mutex_);
  while (!over_ && !withdrawn_) {
    if (config_) liveness_.configure(*config_);
    config_.reset();
    const pool::Liveness::Seen seen = seen_;
    const bool withdraw = withdraw_;
    guard.unlock();
    std::string trouble;
    bool withdrawn = false;
    if (withdraw) {
      try {
        liveness_.withdraw();
        withdrawn = true;
        forget();
      } catch (const Error& error) {
        trouble = with_advice(error);
      }
    }
    pool::Liveness::Verdict verdict;
    if (!withdrawn) verdict = liveness_.turn(seen);
    guard.lock();
    if (withdrawn) {
      withdrawn_ = true;
      break;
    }
    verdict_ = std::move(verdict);
    if (!trouble.empty()) verdict_.trouble = trouble;
    if (verdict_.alive_until != TimePoint::max()) write_alive_until(verdict_.alive_until);
    changed_.wait_for(guard, liveness_.interval(), [this] { return over_ || withdraw_; });
    // A failed withdrawal is not tried again at once.
    if (withdraw) {
      guard.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      guard.lock();
    }
  }
}

}  // namespace specrep::tools
