// vm-protect and the like: what is wanted for a guest, and for all of them.

#include <algorithm>
#include <iostream>

#include "tools/pool/commands.h"
#include "tools/pool/this_host.h"

namespace specrep::tools {

namespace {

using Parameters = std::vector<std::pair<std::string, std::string>>;

Parameters parse(const std::vector<std::string>& words) {
  Parameters parameters;
  for (const std::string& word : words) {
    const auto equals = word.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error("'" + word + "' is no parameter", "write KEY=VALUE, as in epoch-ms=100");
    parameters.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return parameters;
}

std::string value_of(const Parameters& parameters, const std::string& key) {
  for (const auto& [name, value] : parameters)
    if (name == key) return value;
  return {};
}

// KEY= takes the key out.
void set(pool::Edit& edit, const pool::SectionId& section, const Parameters& parameters) {
  for (const auto& [key, value] : parameters) {
    if (value.empty())
      edit.unset(section, key);
    else
      edit.set(section, key, pool::toml_value(key, value));
  }
}

void put_in_force(PoolChange& change) {
  for (const std::string& line : change.put_in_force())
    std::cerr << "specrep-pool: " << line << "\n";
}

const pool::Vm& find(const pool::Config& config, const std::string& name) {
  const pool::Vm* vm = config.find_vm(name);
  if (!vm)
    throw Error(
        "the pool knows no guest " + name,
        "`specrep-pool vm-protect " + name + "` adds it; `specrep-pool status` lists guests");
  return *vm;
}

}  // namespace

void protect(const PoolPlaces& places, const std::string& vm_name,
             const std::vector<std::string>& words) {
  Parameters parameters = parse(words);
  PoolChange change(places);
  if (value_of(parameters, "protection").empty())
    parameters.emplace_back("protection", "replicate");
  if (!change.before().find_vm(vm_name)) {
    std::string path = value_of(parameters, "config");
    if (path.empty()) path = "/etc/xen/" + vm_name + ".cfg";
    GuestFacts facts{value_of(parameters, "uuid"), 0};
    if (facts.uuid.empty() || value_of(parameters, "memory-mib").empty())
      facts = guest_facts(vm_name, path);
    if (facts.uuid.empty()) facts.uuid = make_uuid();
    change.edit().add_section("vm", {{"name", pool::toml_text(vm_name)},
                                     {"uuid", pool::toml_text(facts.uuid)},
                                     {"config", pool::toml_text(path)},
                                     {"memory-mib", std::to_string(facts.memory_mib)}});
  }
  set(change.edit(), {"vm", vm_name}, parameters);
  put_in_force(change);
  const pool::Config after = pool::parse_config(change.text());
  const pool::Vm& vm = find(after, vm_name);
  std::cout << vm_name << " has protection = " << pool::to_string(vm.protection) << ", and "
            << vm.memory_mib << " MiB.";
  if (after.hosts.size() > 1) std::cout << " Its configuration must be on all hosts: " << vm.config;
  std::cout << "\n";
  if (!after.ha.enabled) std::cout << "Nothing is done for it until `specrep-pool ha-enable`.\n";
}

void unprotect(const PoolPlaces& places, const std::string& vm_name, bool forget) {
  PoolChange change(places);
  find(change.before(), vm_name);
  if (forget) {
    change.edit().remove_section({"vm", vm_name});
  } else {
    change.edit().set({"vm", vm_name}, "protection", pool::toml_text("none"));
    change.edit().unset({"vm", vm_name}, "ha-always-run");
  }
  put_in_force(change);
  std::cout << vm_name << (forget ? " is not in the pool any more" : " has protection = none")
            << "; it runs on.\n";
}

void set_parameters(const PoolPlaces& places, const std::string& vm_name,
                    const std::vector<std::string>& words) {
  const Parameters parameters = parse(words);
  PoolChange change(places);
  find(change.before(), vm_name);
  set(change.edit(), {"vm", vm_name}, parameters);
  put_in_force(change);
}

void enable_ha(const PoolPlaces& places, const std::vector<std::string>& words) {
  Parameters parameters = parse(words);
  parameters.emplace_back("enabled", "true");
  PoolChange change(places);
  if (!change.edit().has({"ha", ""})) change.edit().add_section("ha", {});
  set(change.edit(), {"ha", ""}, parameters);
  put_in_force(change);
  std::cout << "Guests are protected, and started, without being asked.\n";
}

void disable_ha(const PoolPlaces& places) {
  PoolChange change(places);
  if (!change.edit().has({"ha", ""})) change.edit().add_section("ha", {});
  change.edit().set({"ha", ""}, "enabled", "false");
  put_in_force(change);
  std::cout << "What runs and is protected is left as it is; nothing is protected or started by "
               "itself.\n";
}

}  // namespace specrep::tools
