#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libspecrep/error.h"

// A pool: hosts that keep copies of each other's guests. What an administrator decides stands in
// one file, pool.conf, which is the same on all hosts; pool.conf(5) has its keys, which are
// XenServer's words where it has them. Who changes the file adds one to its generation, so that of
// two files the newer is known; two with the same generation and different digests were changed at
// the same time.
namespace specrep::pool {

inline constexpr const char* kConfigPath = "/etc/specrep/pool.conf";
inline constexpr std::size_t kConfigBytesMax = std::size_t{1} << 20;
inline constexpr std::size_t kHostsMax = 64;  // as XenServer
inline constexpr std::size_t kVmsMax = 1024;

enum class Role {
  kCoordinator,  // has the pool's certificate authority; exactly one of the hosts
  kSupporter,
};

enum class Protection {
  kReplicate,  // a ready copy on another host goes on when the guest's host dies
  kRestart,    // the guest is started anew on another host
  kNone,       // known, so that its memory counts
};

// The side that does not go on by itself when two hosts lose each other without an arbiter.
enum class Yield { kPrimary, kBackup };

enum class Fencing {
  kNone,
  kWatchdog,  // Xen restarts a host whose dom0 does not run for Ha::watchdog_s
};

struct Ha {
  // Guests are protected, restarted and protected again without being asked. Otherwise what runs is
  // left as it is.
  bool enabled = true;
  int timeout_ms = 1000;              // silence after which a host counts as lost
  int host_failures_to_tolerate = 0;  // at once; if not given, 1 with two or more hosts
  std::string arbiter;                // as make_arbiter() takes it; empty: none
  Yield yield = Yield::kPrimary;      // see Vm::yield
  Fencing fencing = Fencing::kNone;
  int watchdog_s = 10;
  // Whether guests of a host that fell silent are restarted elsewhere without its word; see
  // Liveness.
  bool fences_hosts() const { return !arbiter.empty() && fencing == Fencing::kWatchdog; }
};

struct Host {
  std::string uuid;  // canonical, small letters
  std::string name;
  Role role = Role::kSupporter;
  std::string management_address;   // a name or an IP address, without a port
  std::string replication_address;  // the same as management_address unless given
  std::uint64_t memory_mib = 0;     // for guests and copies, when none runs
};

// The least urgent; of several guests that do not all fit, the more urgent run. See Vm.
inline constexpr int kRestartPriorityMax = 9;

struct Vm {
  std::string name;
  std::string uuid;              // canonical, small letters; also where `config` says another
  std::string config;            // path of its xl configuration, the same on all hosts
  std::uint64_t memory_mib = 0;  // of a host's, with what Xen needs for it besides
  Protection protection = Protection::kNone;
  // 0 is started first. Nothing: "best-effort", started when all others are, if memory is left, and
  // not counted by host-failures-to-tolerate.
  std::optional<int> ha_restart_priority = 1;
  // Started whenever it runs nowhere, as when a host comes back, and not only when its host was
  // lost. If not given: unless `protection` is none.
  bool ha_always_run = false;
  std::string preferred_host;             // its name; may be empty
  std::vector<std::string> backup_hosts;  // their names; the other hosts it may be on, best first;
                                          // empty: any
  // As the options of xl remus-spec of these names; epoch_ms excludes the other two.
  std::optional<int> epoch_ms;
  std::optional<int> max_delay_ms;
  std::optional<double> max_overhead_percent;
  std::optional<int> buffer_mib;
  std::optional<int> disk_rate_mib;
  Yield yield = Yield::kPrimary;  // if not given, that of Ha
};

const char* to_string(Role role);
const char* to_string(Protection protection);
const char* to_string(Yield yield);
const char* to_string(Fencing fencing);

struct Config {
  std::string uuid;
  std::string name;
  std::uint64_t generation = 0;
  Ha ha;
  std::vector<Host> hosts;  // as in the file
  std::vector<Vm> vms;

  // By name; null when there is none.
  const Host* find_host(const std::string& name) const;
  const Vm* find_vm(const std::string& name) const;
  const Host& coordinator() const;
  // Where the guest may run or have its copy: the preferred host, then the backup hosts in their
  // order; if no backup hosts are given, all others in the file's order.
  std::vector<const Host*> allowed_hosts(const Vm& vm) const;
};

// Something in the file that is wrong.
struct Mistake {
  std::size_t line = 0;  // from 1
  std::string what;
  std::string cure;  // what the administrator can do
};

// A file that was read; `config` is of use only when there are no mistakes.
struct Reading {
  Config config;
  std::vector<Mistake> mistakes;  // all of them, by line
};
// Never throws for what is in the text.
Reading read_config(const std::string& text);

// Throws Error that lists every mistake, a line each: "/etc/specrep/pool.conf:12: what; cure".
Config parse_config(const std::string& text, const std::string& path = kConfigPath);

// The text of the file. Throws Error.
std::string load_text(const std::string& path = kConfigPath);
// Replaces the file in one step, and returns when that is on stable storage. Throws Error.
void save_text(const std::string& text, const std::string& path = kConfigPath);

}  // namespace specrep::pool
