// status, plan, validate: show, and change nothing.

#include <algorithm>
#include <iostream>
#include <utility>

#include "libspecrep/hex.h"
#include "libspecrep/pool/plan.h"
#include "tools/pool/commands.h"
#include "tools/table.h"

namespace specrep::tools {

namespace {

using nlohmann::json;

constexpr std::size_t kDigestShown = 8;

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

std::string names(const pool::HostNames& hosts) {
  std::string text;
  for (const std::string& host : hosts) text += (text.empty() ? "" : ", ") + host;
  return text;
}

// The entry of a name in the agent's list; empty if it has none.
json entry_of(const json& list, const std::string& name) {
  for (const json& entry : list)
    if (entry.value("name", "") == name) return entry;
  return json::object();
}

// What runs where, as the agent here says.
struct Seen {
  bool by_agent = false;
  pool::HostNames up;
  pool::Placements placements;
  pool::Starts starts;
};

Seen look(const PoolPlaces& places, const pool::Config& config) {
  Seen seen;
  json status;
  try {
    status = ask_here(places.agents, {{"ask", "status"}});
  } catch (const AgentSilent&) {
    for (const pool::Host& host : config.hosts) seen.up.insert(host.name);
    seen.starts = pool::missing_guests(config, {});
    return seen;
  }
  seen.by_agent = true;
  for (const json& host : status.value("hosts", json::array()))
    if (host.value("up", false)) seen.up.insert(host.value("name", ""));
  for (const json& guest : status.value("guests", json::array()))
    if (const std::string host = guest.value("host", ""); !host.empty())
      seen.placements[guest.value("name", "")] = {host, guest.value("backup", "")};
  seen.starts = pool::missing_guests(config, seen.placements);
  return seen;
}

json to_json(const pool::Outcome& outcome) {
  json guests = json::array();
  for (const pool::Consequence& it : outcome.consequences)
    guests.push_back({{"name", it.vm},
                      {"fate", pool::to_string(it.fate)},
                      {"host", it.after.host},
                      {"backup", it.after.backup}});
  return {{"lost", outcome.lost},
          {"guests", guests},
          {"memory_left_mib", outcome.memory_left_mib},
          {"memory_suffices", outcome.memory_suffices}};
}

json to_json(const pool::Plan& plan, const Seen& seen) {
  json guests = json::array();
  for (const auto& [name, at] : plan.now.placements)
    guests.push_back({{"name", name}, {"host", at.host}, {"backup", at.backup}});
  json outcomes = json::array();
  for (const pool::Outcome& outcome : plan.outcomes) outcomes.push_back(to_json(outcome));
  return {{"seen", seen.by_agent},
          {"hosts_up", seen.up},
          {"guests", guests},
          {"no_host", plan.now.no_host},
          {"no_backup", plan.now.no_backup},
          {"memory_left_mib", plan.memory_left_mib},
          {"losses", outcomes},
          {"memory_suffices", plan.memory_suffices}};
}

// In words, for a table.
std::string consequence_text(const pool::Consequence& it) {
  const std::string copy =
      it.after.backup.empty() ? ", without a copy" : ", new copy on " + it.after.backup;
  switch (it.fate) {
    case pool::Fate::kCopyGoesOn:
      return "its copy on " + it.after.host + " goes on" + copy;
    case pool::Fate::kCopyLost:
      return "stays on " + it.after.host + copy;
    case pool::Fate::kRestarted:
      return "is restarted on " + it.after.host + " (*)";
    case pool::Fate::kNoMemory:
      return "stays off: no host has memory for it";
    case pool::Fate::kNoCopy:
      return "stays off until its host is back: no other has its copy";
    case pool::Fate::kNotProtected:
      break;
  }
  return "stays off: it is not protected";
}

void print(const pool::Config& config, const pool::Plan& plan, const Seen& seen) {
  if (!seen.by_agent)
    std::cout << "The pool agent does not run here: this is what would be if all hosts were up\n"
                 "and all guests started now.\n\n";
  Table hosts({{"HOST"}, {"STATE"}, {"MEMORY", true}, {"LEFT", true}});
  for (const pool::Host& host : config.hosts) {
    const auto left = plan.memory_left_mib.find(host.name);
    const bool up = left != plan.memory_left_mib.end();
    hosts.add({host.name, up ? "up" : "down", std::to_string(host.memory_mib),
               up ? std::to_string(left->second) : "-"});
  }
  Table guests({{"GUEST"}, {"PROTECTION"}, {"HOST"}, {"COPY"}, {"MEMORY", true}});
  for (const pool::Vm& vm : config.vms) {
    const auto at = plan.now.placements.find(vm.name);
    const bool placed = at != plan.now.placements.end();
    guests.add({vm.name, pool::to_string(vm.protection), placed ? at->second.host : "-",
                placed ? or_dash(at->second.backup) : "-", std::to_string(vm.memory_mib)});
  }
  std::cout << hosts.text() << "\n" << guests.text() << "\n";
  Table losses({{"WITHOUT"}, {"GUEST"}, {"WHAT HAPPENS"}});
  bool restarts = false;
  for (const pool::Outcome& outcome : plan.outcomes) {
    std::string lost = names(outcome.lost);
    if (outcome.consequences.empty()) losses.add({lost, "-", "nothing changes"});
    for (const pool::Consequence& it : outcome.consequences) {
      restarts |= it.fate == pool::Fate::kRestarted;
      losses.add({std::exchange(lost, ""), it.vm, consequence_text(it)});
    }
  }
  std::cout << losses.text();
  if (restarts)
    std::cout
        << (config.ha.fences_hosts()
                ? "(*) When the lost host's watchdog has ended all that ran there, about " +
                      std::to_string(3 * config.ha.watchdog_s) + " s later.\n"
                : std::string(
                      "(*) As soon as it is certain that it does not run on the lost host: when "
                      "that is\n"
                      "back, or was taken out with `specrep-pool eject`; by itself with an arbiter "
                      "and\nfencing = \"watchdog\".\n"));
  for (const std::string& vm : plan.now.no_host)
    std::cout << "No host has memory for " << vm << " now.\n";
  for (const std::string& vm : plan.now.no_backup)
    std::cout << "No host has memory for the copy of " << vm << " now.\n";
  std::cout
      << (plan.memory_suffices
              ? "\nMemory suffices.\n"
              : "\nMemory does not suffice: make guests smaller, or write ha-restart-priority = "
                "\"best-effort\"\nfor those that can wait.\n");
}

}  // namespace

int show_status(const PoolPlaces& places, bool as_json) {
  const std::string text = pool::load_text(places.config);
  const pool::Config config = pool::parse_config(text, places.config);
  json status = json::object();
  std::optional<AgentSilent> silent;
  try {
    status = ask_here(places.agents, {{"ask", "status"}});
  } catch (const AgentSilent& error) {
    silent = error;
  }
  const json host_list = status.value("hosts", json::array());
  const json guest_list = status.value("guests", json::array());
  const std::string digest = sha256(text);
  if (as_json) {
    std::cout << json{{"pool", config.name},
                      {"uuid", config.uuid},
                      {"generation", config.generation},
                      {"digest", digest},
                      {"ha_enabled", config.ha.enabled},
                      {"agent_runs", !silent},
                      {"arbiter_trouble", status.value("arbiter_trouble", "")},
                      {"config_trouble", status.value("config_trouble", "")},
                      {"hosts", host_list},
                      {"guests", guest_list}}
                     .dump(2)
              << "\n";
  } else {
    std::cout << "pool " << config.name << ", generation " << config.generation << ", HA "
              << (config.ha.enabled ? "enabled" : "disabled")
              << "\narbiter: " << (config.ha.arbiter.empty() ? "none" : config.ha.arbiter)
              << "\n\n";
    Table hosts({{"HOST"}, {"ROLE"}, {"STATE"}, {"POOL.CONF"}, {"ADDRESS"}});
    for (const pool::Host& host : config.hosts) {
      const json seen = entry_of(host_list, host.name);
      const std::string theirs = seen.value("digest", "");
      const auto generation = seen.value("generation", std::uint64_t{0});
      hosts.add({host.name, pool::to_string(host.role),
                 seen.empty()                         ? "-"
                 : seen.value("up", false)            ? "up"
                 : seen.value("declared_dead", false) ? "dead"
                                                      : "down",
                 theirs.empty()                    ? "-"
                 : theirs == digest                ? "same"
                 : generation == config.generation ? "other " + theirs.substr(0, kDigestShown)
                 : generation < config.generation  ? "older"
                                                   : "newer",
                 host.management_address});
      if (const std::string trouble = seen.value("trouble", ""); !trouble.empty())
        hosts.note(trouble);
    }
    std::cout << hosts.text();
    if (!config.vms.empty()) {
      Table guests({{"GUEST"}, {"PROTECTION"}, {"HOST"}, {"COPY"}, {"STATE"}});
      for (const pool::Vm& vm : config.vms) {
        const json seen = entry_of(guest_list, vm.name);
        guests.add({vm.name, pool::to_string(vm.protection), or_dash(seen.value("host", "")),
                    or_dash(seen.value("backup", "")), or_dash(seen.value("state", ""))});
        if (const std::string waiting = seen.value("waiting", ""); !waiting.empty())
          guests.note(waiting);
      }
      std::cout << "\n" << guests.text();
    }
    if (const std::string trouble = status.value("arbiter_trouble", ""); !trouble.empty())
      std::cerr << "specrep-pool: the arbiter: " << trouble << "\n";
    if (const std::string trouble = status.value("config_trouble", ""); !trouble.empty())
      std::cerr << "specrep-pool: the agent here does not take pool.conf: " << trouble << "\n";
  }
  if (!silent) return 0;
  std::cerr << "specrep-pool: " << silent->what() << "\n  " << silent->advice() << "\n";
  return 1;
}

int show_plan(const PoolPlaces& places, bool as_json) {
  const pool::Config config = pool::parse_config(pool::load_text(places.config), places.config);
  const Seen seen = look(places, config);
  const pool::Plan plan = pool::plan(config, seen.up, seen.placements, seen.starts);
  if (as_json)
    std::cout << to_json(plan, seen).dump(2) << "\n";
  else
    print(config, plan, seen);
  return plan.memory_suffices ? 0 : 1;
}

int validate(const std::string& path) {
  const pool::Reading reading = pool::read_config(pool::load_text(path));
  for (const pool::Mistake& mistake : reading.mistakes)
    std::cerr << path << ":" << mistake.line << ": " << mistake.what << "\n  " << mistake.cure
              << "\n";
  if (reading.mistakes.empty())
    std::cout << path << " is good: generation " << reading.config.generation << ", "
              << reading.config.hosts.size() << " hosts, " << reading.config.vms.size()
              << " guests.\n";
  return reading.mistakes.empty() ? 0 : 1;
}

}  // namespace specrep::tools
