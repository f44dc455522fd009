#include "libspecrep/pool/plan.h"

#include <algorithm>
#include <limits>

namespace specrep::pool {

namespace {

using Memory = std::map<std::string, std::uint64_t>;  // MiB left, by the host's name

void take(Memory& left, const std::string& host, std::uint64_t mib) {
  const auto at = left.find(host);
  if (at != left.end()) at->second -= std::min(at->second, mib);
}

Memory memory_left(const Config& config, const HostNames& up, const Placements& placements) {
  Memory left;
  for (const Host& host : config.hosts)
    if (up.contains(host.name)) left[host.name] = host.memory_mib;
  for (const auto& [name, placement] : placements) {
    const Vm* vm = config.find_vm(name);
    if (!vm) continue;
    take(left, placement.host, vm->memory_mib);
    take(left, placement.backup, vm->memory_mib);
  }
  return left;
}

// Most urgent first; among equals the largest, which are the hardest to place.
std::vector<const Vm*> by_urgency(const Config& config) {
  std::vector<const Vm*> vms;
  for (const Vm& vm : config.vms) vms.push_back(&vm);
  const auto key = [](const Vm* vm) {
    return std::make_pair(vm->ha_restart_priority.value_or(kRestartPriorityMax + 1),
                          std::numeric_limits<std::uint64_t>::max() - vm->memory_mib);
  };
  std::stable_sort(vms.begin(), vms.end(),
                   [&](const Vm* a, const Vm* b) { return key(a) < key(b); });
  return vms;
}

// The host for a guest or its copy; empty if none has the memory.
std::string choose(const Config& config, const Memory& left, const Vm& vm,
                   const std::string& not_on) {
  std::vector<const Host*> candidates;
  for (const Host* host : config.allowed_hosts(vm)) {
    const auto at = left.find(host->name);
    if (host->name != not_on && at != left.end() && at->second >= vm.memory_mib)
      candidates.push_back(host);
  }
  if (vm.backup_hosts.empty())
    std::stable_sort(candidates.begin(), candidates.end(), [&](const Host* a, const Host* b) {
      const bool a_preferred = a->name == vm.preferred_host;
      const bool b_preferred = b->name == vm.preferred_host;
      return a_preferred != b_preferred ? a_preferred : left.at(a->name) > left.at(b->name);
    });
  return candidates.empty() ? std::string() : candidates.front()->name;
}

void place_guest(const Config& config, const Starts& starts, const Vm& vm, Memory& left,
                 Assignment& assignment) {
  const auto start = starts.find(vm.name);
  if (start == starts.end() || assignment.placements.contains(vm.name)) return;
  std::string host = start->second;
  if (host.empty())
    host = choose(config, left, vm, "");
  else if (!left.contains(host) || left[host] < vm.memory_mib)
    host.clear();
  if (host.empty()) return assignment.no_host.push_back(vm.name);
  take(left, host, vm.memory_mib);
  assignment.placements[vm.name].host = host;
}

void place_copy(const Config& config, const Vm& vm, Memory& left, Assignment& assignment) {
  const auto placed = assignment.placements.find(vm.name);
  if (vm.protection != Protection::kReplicate || placed == assignment.placements.end() ||
      !placed->second.backup.empty())
    return;
  const std::string backup = choose(config, left, vm, placed->second.host);
  if (backup.empty()) return assignment.no_backup.push_back(vm.name);
  take(left, backup, vm.memory_mib);
  placed->second.backup = backup;
}

// Every choice of `count` of the hosts, in the file's order.
void choose_losses(const std::vector<std::string>& hosts, std::size_t count, std::size_t from,
                   HostNames& chosen, std::vector<HostNames>& losses) {
  if (count == 0) {
    losses.push_back(chosen);
    return;
  }
  for (std::size_t i = from; i + count <= hosts.size(); ++i) {
    chosen.insert(hosts[i]);
    choose_losses(hosts, count - 1, i + 1, chosen, losses);
    chosen.erase(hosts[i]);
  }
}

}  // namespace

const char* to_string(Fate fate) {
  switch (fate) {
    case Fate::kCopyGoesOn:
      return "goes on";
    case Fate::kRestarted:
      return "restarts";
    case Fate::kCopyLost:
      return "runs on";
    case Fate::kNoMemory:
      return "no memory";
    case Fate::kNoCopy:
      return "no copy";
    case Fate::kNotProtected:
      break;
  }
  return "stays off";
}

Assignment assign(const Config& config, const HostNames& up, const Placements& now,
                  const Starts& starts) {
  Assignment assignment{now, {}, {}};
  Memory left = memory_left(config, up, now);
  const std::vector<const Vm*> vms = by_urgency(config);
  for (const bool best_effort : {false, true}) {
    for (const Vm* vm : vms)
      if (vm->ha_restart_priority.has_value() != best_effort)
        place_guest(config, starts, *vm, left, assignment);
    for (const Vm* vm : vms)
      if (vm->ha_restart_priority.has_value() != best_effort)
        place_copy(config, *vm, left, assignment);
  }
  return assignment;
}

Starts missing_guests(const Config& config, const Placements& now) {
  Starts starts;
  for (const Vm& vm : config.vms)
    if (vm.ha_always_run && !now.contains(vm.name)) starts[vm.name];
  return starts;
}

Outcome lose(const Config& config, const HostNames& up, const Placements& now,
             const HostNames& lost) {
  Outcome outcome;
  outcome.lost = lost;
  HostNames left;
  for (const std::string& host : up)
    if (!lost.contains(host)) left.insert(host);

  Placements placements;
  Starts starts;
  for (const auto& [name, before] : now) {
    const bool copy_lost = lost.contains(before.backup);
    const Vm* vm = config.find_vm(name);
    if (!lost.contains(before.host))
      placements[name] = {before.host, copy_lost ? "" : before.backup};
    else if (!before.backup.empty() && !copy_lost)
      placements[name] = {before.backup, ""};
    else if (vm && vm->protection == Protection::kRestart)
      starts[name];
  }
  const Assignment assignment = assign(config, left, placements, starts);
  outcome.placements = assignment.placements;
  outcome.memory_left_mib = memory_left(config, left, outcome.placements);

  for (const Vm& vm : config.vms) {
    const auto before = now.find(vm.name);
    if (before == now.end()) continue;
    const bool host_lost = lost.contains(before->second.host);
    const bool copy_lost = lost.contains(before->second.backup);
    if (!host_lost && !copy_lost) continue;
    Consequence consequence{vm.name, Fate::kCopyLost, before->second, {}};
    const auto after = outcome.placements.find(vm.name);
    if (after != outcome.placements.end()) consequence.after = after->second;
    if (host_lost) {
      if (!before->second.backup.empty() && !copy_lost)
        consequence.fate = Fate::kCopyGoesOn;
      else if (vm.protection == Protection::kReplicate)
        consequence.fate = Fate::kNoCopy;
      else if (vm.protection == Protection::kNone)
        consequence.fate = Fate::kNotProtected;
      else
        consequence.fate = after == outcome.placements.end() ? Fate::kNoMemory : Fate::kRestarted;
    }
    if (consequence.fate == Fate::kNoMemory && vm.ha_restart_priority)
      outcome.memory_suffices = false;
    outcome.consequences.push_back(std::move(consequence));
  }
  return outcome;
}

Plan plan(const Config& config, const HostNames& up, const Placements& now, const Starts& starts) {
  Plan plan;
  plan.now = assign(config, up, now, starts);
  plan.memory_left_mib = memory_left(config, up, plan.now.placements);
  std::vector<std::string> hosts;
  for (const Host& host : config.hosts)
    if (up.contains(host.name)) hosts.push_back(host.name);
  const auto at_once = static_cast<std::size_t>(std::max(1, config.ha.host_failures_to_tolerate));
  for (std::size_t count = 1; count <= std::min(at_once, hosts.size()); ++count) {
    std::vector<HostNames> losses;
    HostNames chosen;
    choose_losses(hosts, count, 0, chosen, losses);
    for (const HostNames& lost : losses) {
      plan.outcomes.push_back(lose(config, up, plan.now.placements, lost));
      plan.memory_suffices &= plan.outcomes.back().memory_suffices;
    }
  }
  for (const auto* names : {&plan.now.no_host, &plan.now.no_backup})
    for (const std::string& name : *names)
      plan.memory_suffices &= !config.find_vm(name)->ha_restart_priority;
  return plan;
}

}  // namespace specrep::pool
