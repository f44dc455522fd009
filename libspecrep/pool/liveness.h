#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "libspecrep/arbiter/fence_store.h"
#include "libspecrep/clock.h"
#include "libspecrep/pool/config.h"

namespace specrep::pool {

// Which hosts of the pool are certain to run no guest that may be restarted elsewhere, although
// they are silent: what the third party is for that also arbitrates between a guest's two hosts.
// The same as the state file of XenServer's HA.
//
// Each host keeps a record there, and writes it anew a few times in `watch`, the time after which
// its watchdog restarts it. When it has not been able to, it gives up its restart guests, and has
// only until `watch` after its last success to do so: then nobody feeds its watchdog any more. So
// 2 * watch after its last success it runs none, whatever has become of it. A host that has seen
// the record of a silent one unchanged for longer writes there that it is dead. Of two who do, and
// of one who does and one who wakes up, the store lets one be the first.
//
// The third party may be lost, too. A host that all others have heard of lately lives on without
// it, since none of those declares it dead.
//
// Not thread-safe. Calls of the store block.
class Liveness {
 public:
  // What the agent knows, of this moment.
  struct Seen {
    bool has_restart_guests = false;  // here
    // By name, of the other hosts: when each last answered this host and was asked before that,
    // and when it last asked this host. Not in it: never.
    std::map<std::string, TimePoint> answered, asked;
  };
  struct Verdict {
    // Restart guests may run here until then.
    TimePoint alive_until{};
    // This host was declared dead, and may not start such guests yet: others may be about to.
    bool set_back = false;
    // Other hosts that are certain to run none.
    std::set<std::string> dead;
    std::string trouble;  // with the store; empty: none
  };

  // `watch`: at least 2 s. `store` and `clock` must outlive it. `alive_until`: as the one before
  // left it; none: there was none, or it has withdrawn, so no record of this host is there, and
  // nobody declares it dead. Then `about_to_write` is called when the store was seen to answer: it
  // notes, over boots too, that there may be a record from now on, or throws Error.
  Liveness(std::string host, Duration watch, arbiter::FenceStore& store, const Clock& clock,
           std::optional<TimePoint> alive_until, std::function<void()> about_to_write);

  // Verdict::alive_until before the first turn.
  TimePoint alive_until_before() const { return alive_until_before_.value_or(TimePoint::max()); }

  void configure(const Config& config);
  // Writes this host's record and reads those of silent hosts. To be called every interval().
  // The watchdog must be armed before the first call. Takes as long as `store`, at most four
  // intervals.
  Verdict turn(const Seen& seen);
  Duration interval() const { return watch_ / 5; }

  // Writes that nobody watches over this host: it will not be declared dead. Only then may the
  // watchdog be disarmed. Throws Error when that could not be written.
  void withdraw();

  // Silent for so long, a host can be declared dead.
  Duration until_dead() const { return 2 * watch_ + kMargin; }

  // What is to be kept free for giving guests up.
  static constexpr int kGiveUpShare = 4;  // of `watch`
  // For clocks that run differently fast, and for who is heard of late.
  static constexpr Duration kMargin = std::chrono::seconds(2);
  // A host that was declared dead starts nothing for so long: those who hold it for dead know
  // better by then, and what they have begun to start is to be seen.
  Duration set_back_for() const { return until_dead(); }

 private:
  struct Observed {
    std::uint64_t beat = 0;
    TimePoint since;  // when this beat was first read
  };
  bool is_watched() const { return alive_until_before_.has_value(); }
  void begin(Verdict& verdict);
  void write_own(const Seen& seen, Verdict& verdict);
  void look_at(const Host& host, const Seen& seen, Verdict& verdict);
  std::string key(const std::string& host) const;

  const std::string host_;
  const Duration watch_;
  arbiter::FenceStore& store_;
  const Clock& clock_;
  const TimePoint begun_;
  Config config_;
  std::optional<TimePoint> alive_until_before_;
  const std::function<void()> about_to_write_;
  TimePoint written_{};  // when the last success began
  std::optional<TimePoint> set_back_since_;
  std::map<std::string, Observed> observed_;
};

}  // namespace specrep::pool
