// xl remus-spec: protects a guest until it is told to stop.

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <optional>

#include "libspecrep/arbiter/arbiter.h"
#include "libspecrep/error.h"
#include "libspecrep/hex.h"
#include "libspecrep/memory_shortage.h"
#include "libspecrep/wire/message.h"
#include "libspecrep/wire/tls_link.h"
#include "libspecrep/xen/disks.h"
#include "libspecrep/xen/host.h"
#include "libspecrep/xen/network.h"
#include "libspecrep/xen/recover.h"
#include "libspecrep/xen/registry.h"
#include "libspecrep/xen/survey.h"
#include "xl-plugin/command.h"
#include "xl-plugin/console.h"
#include "xl-plugin/far_side.h"
#include "xl-plugin/guardian.h"
#include "xl-plugin/paths.h"
#include "xl-plugin/patient_output.h"

namespace specrep::xl {

namespace {

constexpr int kVerifyEveryDefault = 10;  // epochs, for --verify without a number
constexpr int kHeartbeatsPerTimeout = 5;
constexpr Duration kArbiterTimeout = std::chrono::seconds(2);
// What the backup keeps aside of one disk until the epoch is committed.
constexpr std::uint64_t kDiskStagingBytesMax = 256 << 20;

struct Options {
  std::string domain;
  std::string host;
  int epoch_ms = 200;
  int timeout_ms = 1000;
  int heartbeat_ms = 0;
  int verify_every = 0;
  std::optional<int> max_delay_ms;
  std::optional<double> max_overhead_percent;
  std::string policy = "adaptive";
  bool blackhole = false;
  bool no_compression = false;
  int delta_cache_mib = 64;
  bool no_network_buffer = false;
  bool no_disk_replication = false;
  bool unsafe = false;
  bool no_monitor = false;
  bool json = false;
  std::optional<std::string> ssh_command;
  std::string netbuf_script = program_path("specrep-netbuf");
  int buffer_mib = 32;
  int disk_rate_mib = 0;
  bool disk_durable = false;
  std::string arbiter;
  std::string yield = "primary";
  std::optional<int> watchdog_s;
  std::string address;
};

void describe(CLI::App& app, Options& options) {
  app.add_option("DOMAIN", options.domain, "name or id of the guest to protect")->required();
  app.add_option("HOST", options.host, "the host that keeps the second copy, as ssh knows it");
  app.add_option("-i,--interval", options.epoch_ms, "length of an epoch, in ms [200]")
      ->type_name("MS")
      ->check(CLI::Range(10, 60'000));
  app.add_option("--max-delay", options.max_delay_ms,
                 "choose epochs so that output waits at most this long, in ms")
      ->type_name("MS")
      ->check(CLI::Range(20, 60'000));
  app.add_option("--max-overhead", options.max_overhead_percent,
                 "choose epochs so that the guest is stopped or slowed for at most this share of "
                 "the time; --max-delay goes first")
      ->type_name("PCT")
      ->check(CLI::Range(0.1, 90.0));
  app.add_option("--policy", options.policy,
                 "which pages are sent while the guest runs: adaptive, age, always, or remus "
                 "(none) [adaptive]")
      ->type_name("NAME")
      ->check(CLI::IsMember({"adaptive", "age", "always", "remus"}));
  app.add_flag("-b,--blackhole", options.blackhole,
               "no backup: checkpoints go nowhere; needs -F, HOST may be left out");
  app.add_flag("-u,--no-compression", options.no_compression,
               "do not compress pages on the way to HOST");
  app.add_option("--delta-cache", options.delta_cache_mib,
                 "memory on each host for pages as last sent, so that changes to them are sent "
                 "as differences, in MiB; 0: none [64]")
      ->type_name("MIB")
      ->check(CLI::Range(0, 1024));
  app.add_flag("-n,--no-network-buffer", options.no_network_buffer,
               "do not hold back network output; needs -F");
  app.add_flag("-d,--no-disk-replication", options.no_disk_replication,
               "do not replicate disks; needs -F");
  app.add_flag("-F,--unsafe", options.unsafe, "allow -b, -n and -d, which give up guarantees");
  app.add_option("-s,--ssh", options.ssh_command,
                 "run this through sh instead of ssh; if empty, HOST is the whole command line")
      ->type_name("COMMAND");
  app.add_flag("-e,--no-monitor", options.no_monitor,
               "after failover do not stay on HOST to act on the guest's end");
  app.add_option("-N,--netbuf-script", options.netbuf_script,
                 "set up network buffering by this script instead of specrep-netbuf")
      ->type_name("SCRIPT");
  app.add_option(
         "--buffer", options.buffer_mib,
         "output that is held back at most, for each network interface and epoch, in MiB [32]")
      ->type_name("MIB")
      ->check(CLI::Range(1, 1024));
  app.add_option("--disk-rate", options.disk_rate_mib,
                 "how much of each disk is copied at most while the backup misses some of it, in "
                 "MiB/s; 0: as much as the link takes [0]")
      ->type_name("MIB")
      ->check(CLI::Range(0, 100'000));
  app.add_flag("--disk-durable", options.disk_durable,
               "a write of a disk counts as held by the backup when it is on stable storage "
               "there, so that both hosts may lose their power");
  app.add_option("--arbiter", options.arbiter,
                 "who decides which host goes on when they have lost each other: "
                 "etcd:http://HOST:2379[,...] or file:/SHARED/FOLDER")
      ->type_name("URL");
  app.add_option("--yield", options.yield,
                 "without an arbiter, the side that does not go on by itself: primary (it stands "
                 "still until you say), backup (it does not start its copy), or both [primary]")
      ->type_name("SIDE")
      ->check(CLI::IsMember({"primary", "backup", "both"}));
  app.add_option("--watchdog", options.watchdog_s,
                 "let Xen restart this host when its dom0 hangs for so long, in s")
      ->type_name("S")
      ->check(CLI::Range(2, 600));
  app.add_option("--timeout", options.timeout_ms,
                 "silence after which the other host counts as dead, in ms [1000]")
      ->type_name("MS")
      ->check(CLI::Range(wire::kTimeoutMsMin, wire::kTimeoutMsMax));
  app.add_option("--heartbeat", options.heartbeat_ms, "time between heartbeats, in ms [timeout/5]")
      ->type_name("MS")
      ->check(CLI::Range(wire::kHeartbeatMsMin, wire::kHeartbeatMsMax));
  app.add_flag("--verify{" + std::to_string(kVerifyEveryDefault) + "}", options.verify_every,
               "compare the two copies of memory every N epochs; --verify alone: every 10");
  app.add_option("--address", options.address,
                 "where the data link connects, if not where ssh does")
      ->type_name("ADDRESS");
  app.add_flag("--json", options.json, "report as JSON, an object a line");
}

// What is wrong with the options by themselves; the guest's devices are the survey's business.
void check_options(Options& options) {
  const auto refuse = [](const std::string& what, const std::string& advice) {
    throw UsageError{what, advice};
  };
  if (!options.unsafe &&
      (options.blackhole || options.no_network_buffer || options.no_disk_replication))
    refuse("-b, -n and -d give up guarantees, and are refused without -F",
           "add -F if failover may then go wrong for this guest");
  if (options.netbuf_script.find('/') == std::string::npos)
    options.netbuf_script = "/etc/xen/scripts/" + options.netbuf_script;
  if (access(options.netbuf_script.c_str(), X_OK) != 0 && !options.no_network_buffer)
    refuse("-N: cannot run " + options.netbuf_script, "name a script with its folder");
  if (options.host.empty() && !options.blackhole)
    refuse("HOST is missing", "`xl remus-spec -h` shows how it is used");
  if (options.verify_every < 0)
    refuse("--verify: the number of epochs must be positive", "leave it out for none");
  if (options.heartbeat_ms == 0)
    options.heartbeat_ms = std::clamp(options.timeout_ms / kHeartbeatsPerTimeout,
                                      wire::kHeartbeatMsMin, wire::kHeartbeatMsMax);
  if (options.heartbeat_ms >= options.timeout_ms)
    refuse("--heartbeat must be shorter than --timeout", "a fifth of it is a good choice");
}

// A guest is protected once. What a dead process left is cleared away first.
void settle_earlier_protection(const xen::Domain& domain, Console& console) {
  const bool held = !xen::held_interfaces(domain.domid).empty();
  for (const xen::Protection& p : xen::list_protections()) {
    if (p.uuid != xen::to_string(domain.uuid)) continue;
    if (p.alive && p.role == "backup")
      throw Error(domain.name + " is the copy that this host keeps for " + p.peer,
                  "it is protected from there; after failover it can be protected from here");
    if (p.alive)
      throw Error(
          domain.name + " is already protected by " + p.peer,
          "`xl remus-spec-list` shows it; `xl remus-spec-stop " + domain.name + "` ends it");
    if (held) break;
    const std::string done = xen::recover_guest(domain.domid);
    xen::remove_stale(p);
    console.warn("an earlier protection of " + domain.name + " had died" +
                 (done.empty() ? "" : ": " + done));
  }
  // To set up a new buffer would let out what the old one holds.
  if (held)
    throw Error("the network of " + domain.name +
                    " is held since an earlier protection: its copy may run on the other host",
                "`xl remus-spec-stop " + domain.name + "` says what to do");
}

std::vector<std::string> link_addresses(const Options& options, const wire::Listening& listening) {
  if (!options.address.empty()) return {options.address};
  std::vector<std::string> addresses(listening.addresses().begin(), listening.addresses().end());
  const bool host_is_command = options.ssh_command && options.ssh_command->empty();
  if (!host_is_command) {
    const std::string host = options.host.substr(options.host.rfind('@') + 1);
    if (std::find(addresses.begin(), addresses.end(), host) == addresses.end())
      addresses.push_back(host);
  }
  return addresses;
}

// Prints the warnings. One problem becomes the one error; several are listed before it.
void require_no_problem(const std::vector<wire::Finding>& findings, const std::string& refusal,
                        Console& console) {
  std::vector<wire::Finding> problems;
  for (const wire::Finding& finding : findings) {
    if (finding.severity() == wire::Finding::WARNING)
      console.warn(finding.subject() + ": " + finding.what(), finding.advice());
    if (finding.severity() == wire::Finding::PROBLEM) problems.push_back(finding);
  }
  if (problems.empty()) return;
  if (problems.size() == 1)
    throw Error(refusal + ": " + problems[0].subject() + ": " + problems[0].what(),
                problems[0].advice());
  for (const wire::Finding& problem : problems)
    console.error(problem.subject() + ": " + problem.what(), problem.advice());
  throw Error(refusal + ", for " + std::to_string(problems.size()) + " reasons");
}

// Everything up to the moment when both hosts are ready and nothing was changed. Fills in where
// and how specrep-primary reaches the backup.
void agree_with_backup(FarSide& far_side, const Options& options, const xen::Domain& domain,
                       const std::vector<std::string>& disk_paths, Arbiter* arbiter,
                       std::uint64_t& generation, Console& console, nlohmann::json& configuration) {
  far_side.greet();
  require_no_problem(far_side.survey(xen::survey_request(domain)),
                     domain.name + " cannot be protected by " + options.host, console);
  if (arbiter) generation = arbiter->open(xen::to_string(domain.uuid), xen::claimant());
  const wire::PreSharedKey key = wire::make_pre_shared_key();
  wire::Protect request;
  request.set_pre_shared_key(key.data(), key.size());
  request.set_heartbeat_interval_ms(static_cast<std::uint32_t>(options.heartbeat_ms));
  request.set_heartbeat_timeout_ms(static_cast<std::uint32_t>(options.timeout_ms));
  request.set_monitor_after_failover(!options.no_monitor);
  request.set_primary_host(xen::host_name());
  request.set_arbiter(options.arbiter);
  request.set_fencing_generation(generation);
  request.set_backup_yields(options.yield != "primary");
  request.set_disk_staging_bytes_max(kDiskStagingBytesMax);
  request.set_disk_durable(options.disk_durable);
  nlohmann::json disks = nlohmann::json::array();
  for (const std::string& path : disk_paths) {
    const wire::PreSharedKey disk_key = wire::make_pre_shared_key();
    wire::DiskKey& disk = *request.add_disks();
    disk.set_path(path);
    disk.set_pre_shared_key(disk_key.data(), disk_key.size());
    disks.push_back({{"path", path}, {"psk", to_hex(disk_key)}});
  }
  const wire::Listening listening = far_side.protect(request);
  if (static_cast<std::size_t>(listening.disk_ports_size()) != disks.size())
    throw Error(options.host + " cannot keep copies of disks",
                "install the same version of specrep there");
  for (std::size_t i = 0; i < disks.size(); ++i)
    disks[i]["port"] = listening.disk_ports(static_cast<int>(i));
  configuration["disks"] = disks;
  configuration["disk_staging_bytes_max"] = kDiskStagingBytesMax;
  const std::vector<std::string> addresses = link_addresses(options, listening);
  if (addresses.empty())
    throw UsageError{options.host + " does not say at which address it can be reached",
                     "give it with --address"};
  configuration["addresses"] = addresses;
  configuration["port"] = listening.port();
  configuration["psk"] = to_hex(key);
}

}  // namespace

int protect(int argc, char** argv) {
  Options options;
  CLI::App app("Keeps a second, ready copy of a running guest on another host.", "xl remus-spec");
  describe(app, options);
  if (const auto status = parse(app, argc, argv)) return *status;
  check_options(options);

  outlive_memory_shortage();
  Console console("remus-spec", options.json);
  SignalFd signals;
  const xen::Xenctrl xc;
  const xen::Libxl libxl;
  const xen::Domain domain = xen::find_domain(libxl, xc, options.domain);
  settle_earlier_protection(domain, console);
  require_no_problem(xen::survey_guest(domain, {.network_buffering = !options.no_network_buffer,
                                                .disk_replication = !options.no_disk_replication}),
                     domain.name + " cannot be protected", console);

  nlohmann::json configuration = {
      {"domid", domain.domid},
      {"peer", options.blackhole ? std::string() : options.host},
      {"addresses", nlohmann::json::array()},
      {"port", 0},
      {"psk", ""},
      {"epoch_ms", options.epoch_ms},
      {"heartbeat_ms", options.heartbeat_ms},
      {"timeout_ms", options.timeout_ms},
      {"verify_every", options.verify_every},
      {"blackhole", options.blackhole},
      {"compress", !options.no_compression},
      {"policy", options.policy},
      {"delta_cache_mib", options.delta_cache_mib},
      {"network_buffer", !options.no_network_buffer},
      {"netbuf_script", options.netbuf_script},
      {"switchover_record", switchover_record(domain.name)},
      {"buffer_mib", options.buffer_mib},
      {"disk_rate_mib", options.disk_rate_mib},
  };
  if (options.max_delay_ms) configuration["max_delay_ms"] = *options.max_delay_ms;
  if (options.max_overhead_percent)
    configuration["max_overhead_percent"] = *options.max_overhead_percent;
  if (options.watchdog_s) configuration["watchdog_s"] = *options.watchdog_s;
  std::unique_ptr<Arbiter> arbiter;
  if (!options.arbiter.empty()) arbiter = make_arbiter(options.arbiter, kArbiterTimeout);
  std::uint64_t generation = 0;
  std::unique_ptr<FarSide> far_side;
  if (!options.blackhole) {
    far_side = std::make_unique<FarSide>(options.host, options.ssh_command, signals);
    std::vector<std::string> disk_paths;
    if (!options.no_disk_replication) {
      xen::DomainConfig config;
      config.parse(libxl, xen::domain_config_json(libxl, domain.domid));
      disk_paths = xen::replicated_disks(config);
    }
    agree_with_backup(*far_side, options, domain, disk_paths, arbiter.get(), generation, console,
                      configuration);
  }
  const PatientOutput output({std::cout, STDOUT_FILENO}, {std::cerr, STDERR_FILENO});
  Guardian guardian({.domain = domain,
                     .host = options.blackhole ? std::string() : options.host,
                     .configuration = std::move(configuration),
                     .epoch_ms = options.epoch_ms,
                     .netbuf_script = options.netbuf_script,
                     .arbiter = arbiter.get(),
                     .fencing_generation = generation,
                     .primary_yields = options.yield != "backup"},
                    far_side.get(), signals, console);
  return guardian.run();
}

}  // namespace specrep::xl
