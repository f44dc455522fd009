#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/pool/config.h"
#include "libspecrep/pool/plan.h"

namespace specrep::pool {

// A guest of the pool as it stands on one host.
struct GuestSeen {
  enum class State {
    kRuns,
    kArrives,  // a copy that is kept for another host, or one that is being started or migrated
               // here
  };
  std::string uuid;
  State state = State::kRuns;
  // Of one that runs:
  std::string protection;  // as xl remus-spec-list says, "protected" or another; empty: none
  std::string backup;      // the host of its copy
};

// What the agent of a host tells the agents of the others.
struct HostReport {
  std::string host;
  std::uint64_t generation = 0;  // of its pool.conf
  std::string digest;
  bool leaving = false;  // the host is being shut down: it takes no guest
  std::vector<GuestSeen> guests;
  // By the guests' names: those that could not be started here; from the coordinator, which host is
  // to start those that run nowhere.
  std::set<std::string> failed_starts;
  std::map<std::string, std::string> starts;
};
nlohmann::json to_json(const HostReport& report);
// Throws Error when it is none.
HostReport to_report(const nlohmann::json& json);

// The next thing to do, for whoever drives the agent. Each but kTakeConfig is outstanding until
// Agent::done() is called for it.
struct Action {
  enum class Kind {
    kProtect,     // `host` is to keep the copy; done when the protection has ended
    kStart,       // from its configuration
    kSwitchOver,  // to where its copy is
    kDiscard,     // the copy that this host keeps, since it is being shut down
    kGiveUp,      // ends at once, since it may be started elsewhere
    kTakeConfig,  // `host` has a newer pool.conf
  };
  Kind kind;
  std::string guest;  // its name in pool.conf; empty for kTakeConfig
  std::string host;
  std::string why;  // for the log
  bool operator==(const Action&) const = default;
};
const char* to_string(Action::Kind kind);

// Decides what a host does by itself for the pool's guests, from what pool.conf wants and what the
// hosts say runs where.
//
// It knows nothing of Xen, of processes and of the network: observations go in, actions come out.
// Each host decides about what runs on it. Which host starts a guest that runs nowhere is said by
// the coordinator, and that host does so only when all hosts have since told it that they do not
// have it and go by the same pool.conf: one that is silent may run it. So an observation that is
// late or old does not lead to a second copy of a guest. What becomes of a replicated guest while a
// host is silent is the affair of specrep-backup and its arbiter. A guest that is restarted goes
// without the word of a host that is certain to run none, see Liveness; if the coordinator is
// such, the first host of pool.conf that is not stands in for it.
class Agent {
 public:
  // Both must outlive it.
  Agent(std::string host, const Clock& clock);

  void configure(Config config, std::string digest);
  // This host, as it is now. `leaving` stays.
  void observe(std::vector<GuestSeen> guests);
  // The answer of another host, that was asked at `asked`.
  void hear(HostReport report, TimePoint asked);
  // What Liveness says; to be told anew every second. Without a call no host is ever dead.
  struct Life {
    bool give_up = false;   // this host has to be without restart guests very soon
    bool set_back = false;  // it must not start any
    std::set<std::string> dead;
  };
  void know(Life life) { life_ = std::move(life); }
  // The action has ended: `error` is empty, or says why it failed.
  void done(Action::Kind kind, const std::string& guest, const std::string& error);
  // The host is being shut down: guests with a copy go there.
  void leave() { leaving_ = true; }

  // To be called whenever something was observed, and once a second.
  std::vector<Action> step();

  HostReport report() const;
  bool is_up(const std::string& host) const;
  // Whether one runs here or is about to.
  bool has_restart_guests() const;

  // Of every guest of the pool: where it is, and what the agent does about it or waits for.
  struct GuestStatus {
    std::string name;
    std::string host;     // where it runs, as far as is known; empty: nowhere known
    std::string backup;   // of the host where it runs
    std::string state;    // "protected", "unprotected", "first-copy", ..., "stopped", "unknown"
    std::string waiting;  // what for, or why the last attempt failed; empty: nothing is wanted
  };
  std::vector<GuestStatus> status() const;
  std::optional<Duration> heard_ago(const std::string& host) const;
  const HostReport* last_report(const std::string& host) const;

 private:
  struct Heard {
    HostReport report;
    TimePoint asked;
  };
  struct Progress {
    std::optional<Action> action;  // outstanding
    int failures = 0;              // in a row
    TimePoint not_before{};        // of the next attempt
    std::string failed_host;       // the last one that failed to keep the copy
    bool start_failed = false;     // the last attempt to start it here
    std::string waiting;
    std::optional<TimePoint> nowhere_since;
    // On the coordinator: which host is to start it, since when; and those that could not.
    std::string starter;
    TimePoint starter_since{};
    std::set<std::string> could_not;
  };

  const GuestSeen* find_here(const std::string& uuid) const;
  // Other hosts, up or not, that were last heard to have it.
  std::vector<std::string> hosts_with(const std::string& uuid,
                                      std::optional<GuestSeen::State> state = {}) const;
  void decide_running(const Vm& vm, const GuestSeen& seen, Progress& progress,
                      std::vector<Action>& actions);
  void decide_absent(const Vm& vm, Progress& progress, std::vector<Action>& actions);
  void decide_leaving(const Vm& vm, const GuestSeen& seen, Progress& progress,
                      std::vector<Action>& actions);
  // Empty: the guest is certain to run nowhere, as all have said since progress.nowhere_since.
  // Otherwise what is missing.
  std::string doubt(const Vm& vm, const Progress& progress) const;
  // Whether a host is silent and yet certain not to run this guest.
  bool is_gone(const std::string& host, const Vm& vm) const;
  std::string coordinator_for(const Vm& vm) const;
  void give_up(std::vector<Action>& actions);
  void choose_starter(const Vm& vm, Progress& progress);
  HostNames hosts_that_take_guests() const;
  Placements placements() const;
  std::string choose_backup(const Vm& vm, const Progress& progress) const;
  void act(Action action, Progress& progress, std::vector<Action>& actions);

  const std::string host_;
  const Clock& clock_;
  Config config_;
  std::string digest_;
  bool observed_ = false;
  bool leaving_ = false;
  Life life_;
  std::vector<GuestSeen> here_;
  std::map<std::string, Heard> others_;
  std::map<std::string, Progress> progress_;  // by the guest's name
  std::optional<TimePoint> config_asked_;
};

}  // namespace specrep::pool
