#include "libspecrep/pool/config.h"

#include <algorithm>

namespace specrep::pool {

const char* to_string(Role role) {
  return role == Role::kCoordinator ? "coordinator" : "supporter";
}

const char* to_string(Protection protection) {
  switch (protection) {
    case Protection::kReplicate:
      return "replicate";
    case Protection::kRestart:
      return "restart";
    case Protection::kNone:
      break;
  }
  return "none";
}

const char* to_string(Yield yield) { return yield == Yield::kPrimary ? "primary" : "backup"; }

const char* to_string(Fencing fencing) {
  return fencing == Fencing::kWatchdog ? "watchdog" : "none";
}

namespace {

template <class Item>
const Item* find(const std::vector<Item>& items, const std::string& name) {
  const auto at =
      std::find_if(items.begin(), items.end(), [&](const Item& item) { return item.name == name; });
  return at == items.end() ? nullptr : &*at;
}

}  // namespace

const Host* Config::find_host(const std::string& name) const { return find(hosts, name); }

const Vm* Config::find_vm(const std::string& name) const { return find(vms, name); }

const Host& Config::coordinator() const {
  const auto at = std::find_if(hosts.begin(), hosts.end(),
                               [](const Host& host) { return host.role == Role::kCoordinator; });
  if (at == hosts.end()) throw Error("the pool has no coordinator");
  return *at;
}

std::vector<const Host*> Config::allowed_hosts(const Vm& vm) const {
  std::vector<const Host*> allowed;
  const auto add = [&](const Host* host) {
    if (host && std::find(allowed.begin(), allowed.end(), host) == allowed.end())
      allowed.push_back(host);
  };
  add(find_host(vm.preferred_host));
  for (const std::string& name : vm.backup_hosts) add(find_host(name));
  if (vm.backup_hosts.empty())
    for (const Host& host : hosts) add(&host);
  return allowed;
}

Config parse_config(const std::string& text, const std::string& path) {
  Reading reading = read_config(text);
  if (reading.mistakes.empty()) return std::move(reading.config);
  const std::size_t count = reading.mistakes.size();
  std::string list =
      path + " has " + (count == 1 ? "a mistake" : std::to_string(count) + " mistakes") + ":";
  for (const Mistake& mistake : reading.mistakes)
    list += "\n" + path + ":" + std::to_string(mistake.line) + ": " + mistake.what + "; " +
            mistake.cure;
  throw Error(list, "pool.conf(5) has the keys and their values");
}

}  // namespace specrep::pool
