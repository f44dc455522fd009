#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "libspecrep/pool/config.h"

// Which host runs which guest, and which has its copy: pure functions of the configuration and of
// what runs. The pool agents do what they say, so that `specrep-pool plan` tells what will happen.
namespace specrep::pool {

using HostNames = std::set<std::string>;

// Where a guest runs.
struct Placement {
  std::string host;
  std::string backup;  // the host of its copy; empty: none
  bool operator==(const Placement&) const = default;
};
// By the guests' names; one that runs nowhere is not in it.
using Placements = std::map<std::string, Placement>;

// Guests to be started, by name, each with the host that it must start on, as the one that has its
// disks; empty: any that it is allowed.
using Starts = std::map<std::string, std::string>;

struct Assignment {
  Placements placements;
  std::vector<std::string> no_host;    // guests to be started for which no host has memory
  std::vector<std::string> no_backup;  // guests that run and should have a copy, likewise
};

// Adds to `now` the guests of `starts`, and a backup for each guest with protection = replicate
// that has none. What is there already is not moved. The more urgent go first, among equals the
// larger; all guests before any copy, but best-effort guests and their copies at the very end. A
// guest's hosts are tried in the order of Config::allowed_hosts(), but when its backup hosts are
// not given, after the preferred host those with most memory left. Hosts and guests that the
// configuration does not know are left as they are. `up`: the hosts that can run something.
Assignment assign(const Config& config, const HostNames& up, const Placements& now,
                  const Starts& starts);

// What the agents start by themselves when they find that it runs nowhere: with ha-always-run.
Starts missing_guests(const Config& config, const Placements& now);

// What becomes of a guest whose host, or whose copy's host, is lost.
enum class Fate {
  kCopyGoesOn,    // on the host of its copy
  kRestarted,     // anew, on `host`
  kCopyLost,      // it runs on, and gets a new copy if any host has memory for it
  kNoMemory,      // it should be restarted, and no host has memory
  kNoCopy,        // it is replicated, and no host that is left has its copy: no other has its
                  // disks as they were, so it waits for its host
  kNotProtected,  // protection = none
};
const char* to_string(Fate fate);

struct Consequence {
  std::string vm;
  Fate fate = Fate::kNotProtected;
  Placement before;
  Placement after;  // empty if it does not run
};

struct Outcome {
  HostNames lost;
  std::vector<Consequence> consequences;  // for each guest that is affected, as in the file
  Placements placements;                  // of all guests, when all is done
  std::map<std::string, std::uint64_t> memory_left_mib;  // of the hosts that are left
  // All guests run that must, and for which memory decides: those that are restarted, but for
  // best-effort.
  bool memory_suffices = true;
};

// What happens when these hosts are lost at once.
Outcome lose(const Config& config, const HostNames& up, const Placements& now,
             const HostNames& lost);

struct Plan {
  Assignment now;  // what runs, or will when the agents have done what they can
  std::map<std::string, std::uint64_t> memory_left_mib;  // now
  std::vector<Outcome> outcomes;  // one host after the other, then each two, ...
  // For each of them, and for all guests and copies now; but for best-effort.
  bool memory_suffices = true;
};

// Each loss of up to host-failures-to-tolerate hosts at once, and at least of each single one.
Plan plan(const Config& config, const HostNames& up, const Placements& now, const Starts& starts);

}  // namespace specrep::pool
