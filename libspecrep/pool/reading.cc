// Reads pool.conf, and finds every mistake that can be found in the file alone.

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <map>

#include "libspecrep/pool/config.h"
#include "libspecrep/pool/plan.h"
#include "libspecrep/pool/section.h"
#include "libspecrep/wire/message.h"

namespace specrep::pool {

namespace {

constexpr std::int64_t kMemoryMibMax = std::int64_t{1} << 34;   // 16 PiB, more than Xen can
constexpr std::int64_t kGenerationMax = std::int64_t{1} << 53;  // a JSON number
constexpr int kHostFailuresMax = 3;                             // as XenServer
constexpr std::size_t kNameBytesMax = 64;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool all_of(const std::string& text, bool (*good)(char)) {
  return std::all_of(text.begin(), text.end(), good);
}

// Lets each value occur only once in the file.
class Unique {
 public:
  explicit Unique(std::string what) : what_(std::move(what)) {}

  void take(Section& section, const std::string& key, const std::string& value,
            const std::string& cure) {
    const auto [at, is_new] = seen_.try_emplace(value, section.name(), section.line(key));
    if (is_new) return;
    section.mistake(key,
                    key + " = " + quoted(value) + " is that of " + at->second.first + ", line " +
                        std::to_string(at->second.second) + ", too",
                    "give each " + what_ + " its own" + cure);
  }

 private:
  const std::string what_;
  std::map<std::string, std::pair<std::string, std::size_t>> seen_;
};

std::optional<std::string> read_uuid(Section& section, Unique& uuids) {
  auto uuid = section.text("uuid", Section::kRequired);
  if (!uuid) return std::nullopt;
  bool good = uuid->size() == 36;
  for (std::size_t i = 0; good && i < uuid->size(); ++i) {
    char& c = (*uuid)[i];
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    good = dash ? c == '-' : is_digit(c) || (c >= 'a' && c <= 'f');
  }
  if (!good) {
    section.mistake("uuid", "uuid = " + quoted(*uuid) + " is no UUID",
                    "write one as `uuidgen` prints it, 36 characters");
    return std::nullopt;
  }
  uuids.take(section, "uuid", *uuid, "; `uuidgen` makes one");
  return uuid;
}

// Names are parts of paths, of xenstore's and of command lines.
void check_name(Section& section, const std::string& name) {
  const auto good = [](char c) {
    return is_letter(c) || is_digit(c) || c == '.' || c == '_' || c == '-' || c == '+';
  };
  if (name.size() > kNameBytesMax || !all_of(name, good) || name[0] == '-' || name[0] == '.')
    section.mistake("name", "name = " + quoted(name) + " is not possible",
                    "use at most 64 letters, digits and . _ - +, and begin with a letter or digit");
}

bool is_ip_address(int family, const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> parsed;
  return inet_pton(family, text.c_str(), parsed.data()) == 1;
}

bool is_ip_address(const std::string& text) {
  return is_ip_address(AF_INET, text) || is_ip_address(AF_INET6, text);
}

bool is_host_name(const std::string& text) {
  const auto good = [](char c) { return is_letter(c) || is_digit(c) || c == '.' || c == '-'; };
  // What ends in digits would be an IPv4 address.
  return !text.empty() && text.size() <= 253 && all_of(text, good) && text[0] != '-' &&
         text[0] != '.' && text.find("..") == std::string::npos &&
         std::any_of(text.begin() + static_cast<long>(text.rfind('.') + 1), text.end(), is_letter);
}

void check_address(Section& section, const std::string& key, const std::string& address) {
  const std::string what = key + " = " + quoted(address);
  if (address.find("://") != std::string::npos)
    return section.mistake(key, what + " is a URL", "write the host's name or IP address alone");
  if (address == "localhost" || address == "::1" || address == "::" || address == "0.0.0.0" ||
      address.starts_with("127."))
    return section.mistake(key, what + " means each host itself",
                           "write the address at which the other hosts reach it");
  if (is_ip_address(address) || is_host_name(address)) return;
  if (address.starts_with('['))
    return section.mistake(key, what + " has brackets", "write an IPv6 address without them");
  const auto colon = address.find(':');
  if (colon != std::string::npos && all_of(address.substr(colon + 1), is_digit))
    return section.mistake(key, what + " has a port",
                           "write " + key + " = " + quoted(address.substr(0, colon)));
  section.mistake(key, what + " is no address", "write the host's name or IP address");
}

// What is wrong with an endpoint of etcd; empty if nothing is.
std::string endpoint_mistake(std::string endpoint) {
  const std::string whole = endpoint;
  if (endpoint.starts_with("http://"))
    endpoint.erase(0, 7);
  else if (endpoint.starts_with("https://"))
    endpoint.erase(0, 8);
  else
    return "its endpoint " + quoted(whole) + " does not begin with http:// or https://";
  std::string port;
  if (endpoint.starts_with('[')) {
    const auto end = endpoint.find(']');
    if (end == std::string::npos || !is_ip_address(AF_INET6, endpoint.substr(1, end - 1)))
      return "its endpoint " + quoted(whole) + " has no IPv6 address in its brackets";
    port = endpoint.substr(end + 1);
  } else {
    const auto colon = endpoint.find(':');
    port = colon == std::string::npos ? "" : endpoint.substr(colon);
    const std::string host = endpoint.substr(0, colon);
    if (!is_ip_address(AF_INET, host) && !is_host_name(host))
      return "its endpoint " + quoted(whole) + " has no host";
  }
  if (port.empty()) return {};
  const std::string number = port.substr(1);
  if (port[0] != ':' || number.empty() || number.size() > 5 || !all_of(number, is_digit) ||
      std::stoi(number) < 1 || std::stoi(number) > 65535)
    return "its endpoint " + quoted(whole) + " has no port from 1 to 65535 behind the host";
  return {};
}

std::string arbiter_mistake(const std::string& url) {
  if (url.starts_with("file:"))
    return url.starts_with("file:/") && !url.starts_with("file://") ? ""
                                                                    : "its path is not absolute";
  if (!url.starts_with("etcd:")) return "it is none";
  const auto question = url.find('?');
  const std::string list = url.substr(5, question == std::string::npos ? question : question - 5);
  bool https = false;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t comma = std::min(list.find(',', begin), list.size());
    const std::string endpoint = list.substr(begin, comma - begin);
    https |= endpoint.starts_with("https://");
    const std::string mistake = endpoint_mistake(endpoint);
    if (!mistake.empty()) return mistake;
    begin = comma + 1;
  }
  if (question == std::string::npos) return {};
  if (!https) return "it names certificates without https://";
  const std::string options = url.substr(question + 1);
  for (std::size_t begin = 0; begin <= options.size();) {
    const std::size_t end = std::min(options.find('&', begin), options.size());
    const std::string option = options.substr(begin, end - begin);
    const auto equals = option.find('=');
    const std::string name = option.substr(0, equals);
    if (name != "cacert" && name != "cert" && name != "key")
      return quoted(name) + " is not one of cacert, cert and key";
    if (equals == std::string::npos || !option.substr(equals + 1).starts_with('/'))
      return "the path of its " + name + " is not absolute";
    begin = end + 1;
  }
  return {};
}

void check_absolute_path(Section& section, const std::string& key, const std::string& path) {
  if (!path.starts_with('/'))
    section.mistake(key, key + " = " + quoted(path) + " is a relative path",
                    "write it from /, as in /etc/xen/" + path.substr(path.rfind('/') + 1));
  else if (path.ends_with('/'))
    section.mistake(key, key + " = " + quoted(path) + " is a folder", "name the file in it");
}

template <class Value>
void assign(Value& to, const auto& from) {
  if (from) to = static_cast<std::decay_t<Value>>(*from);
}

void assign_int(std::optional<int>& to, const std::optional<std::int64_t>& from) {
  if (from) to = static_cast<int>(*from);
}

const std::vector<std::pair<std::string, Yield>> kYields = {{"primary", Yield::kPrimary},
                                                            {"backup", Yield::kBackup}};

// A section that stands once, or null.
const toml::table* single(TomlDocument& document, const std::string& name) {
  const toml::node* node = document.root.get(name);
  if (!node) return nullptr;
  if (const toml::table* table = node->as_table()) return table;
  document.mistakes.push_back({line_of(*node), name + " is no section, or there are two of it",
                               "write [" + name + "], in one pair of brackets, once"});
  return nullptr;
}

// The sections of a name that may stand several times.
std::vector<const toml::table*> repeated(TomlDocument& document, const std::string& name) {
  std::vector<const toml::table*> tables;
  const toml::node* node = document.root.get(name);
  if (!node) return tables;
  if (const toml::array* list = node->as_array(); list && list->is_array_of_tables()) {
    for (const toml::node& item : *list) tables.push_back(item.as_table());
  } else {
    document.mistakes.push_back(
        {line_of(*node), "[" + name + "] stands for one of several",
         "write [[" + name + "]], in two pairs of brackets, once for each " + name});
    if (node->is_table()) tables.push_back(node->as_table());
  }
  return tables;
}

class Reader {
 public:
  explicit Reader(TomlDocument& document) : document_(document) {}

  Config read() {
    refuse_unknown_sections();
    read_pool();
    const toml::table* ha = single(document_, "ha");
    static const toml::table kNothing;
    Section ha_section(ha ? *ha : kNothing, "[ha]", document_);
    read_ha(ha_section);
    for (const toml::table* table : repeated(document_, "host")) read_host(*table);
    check_hosts();
    for (const toml::table* table : repeated(document_, "vm")) read_vm(*table);
    check_ha(ha_section);
    return config_;
  }

  // Whether all that the agents start by themselves fits, and goes on fitting when hosts are lost.
  void check_memory(const Config& config) {
    if (!config.ha.enabled) return;
    HostNames up;
    for (const Host& host : config.hosts) up.insert(host.name);
    const Plan all_up = plan(config, up, {}, missing_guests(config, {}));
    const auto must_run = [&](const std::string& vm) {
      return config.find_vm(vm)->ha_restart_priority.has_value();
    };
    for (const std::string& name : all_up.now.no_host)
      if (must_run(name))
        mistake(vm_lines_[name], "vm " + name + ": no host has memory for it when all guests run",
                "allow it other hosts, make guests smaller, or write ha-restart-priority = "
                "\"best-effort\"");
    for (const std::string& name : all_up.now.no_backup)
      if (must_run(name))
        mistake(
            vm_lines_[name], "vm " + name + ": no host has memory for its copy",
            "allow it other hosts, or write protection = \"restart\" for a guest that can do with "
            "it");
    if (config.ha.host_failures_to_tolerate == 0 || !document_.mistakes.empty()) return;
    for (const Outcome& outcome : all_up.outcomes) {
      if (outcome.memory_suffices) continue;
      for (const Consequence& consequence : outcome.consequences)
        if (consequence.fate == Fate::kNoMemory)
          return mistake(failures_line_,
                         "[ha]: host-failures-to-tolerate = " +
                             std::to_string(config.ha.host_failures_to_tolerate) + ": without " +
                             names(outcome.lost) + " no host has memory for " + consequence.vm,
                         "write a smaller number, or ha-restart-priority = \"best-effort\" for "
                         "guests that can wait");
    }
  }

 private:
  static std::string names(const HostNames& hosts) {
    std::string text;
    for (const std::string& host : hosts) text += (text.empty() ? "" : " and ") + host;
    return text;
  }

  void mistake(std::size_t line, const std::string& what, const std::string& cure) {
    document_.mistakes.push_back({std::max<std::size_t>(line, 1), what, cure});
  }

  void refuse_unknown_sections() {
    const std::vector<std::string> known = {"pool", "ha", "host", "vm"};
    for (const auto& [key, node] : document_.root) {
      const std::string word(key.str());
      if (std::find(known.begin(), known.end(), word) != known.end()) continue;
      const std::string near = nearest(word, known);
      const bool section = node.is_table() || node.is_array_of_tables();
      mistake(line_of(key),
              section ? "there is no section " + word : word + " stands before the first section",
              !section       ? "move it below [pool], [ha], [[host]] or [[vm]]"
              : near.empty() ? "write [pool], [ha], [[host]] or [[vm]]"
                             : "did you mean " + near + "?");
    }
  }

  void read_pool() {
    const toml::table* table = single(document_, "pool");
    if (!table) {
      if (!document_.root.contains("pool") && !document_.broken_names.contains("pool"))
        mistake(1, "there is no section [pool]", "add it, with uuid, name and generation");
      return;
    }
    Section section(*table, "[pool]", document_);
    assign(config_.uuid, read_uuid(section, uuids_));
    if (const auto name = section.text("name", Section::kRequired)) {
      config_.name = *name;
      check_name(section, *name);
    }
    assign(config_.generation,
           section.whole_number("generation", 1, kGenerationMax, Section::kRequired));
    section.refuse_unknown_keys();
  }

  void read_ha(Section& section) {
    Ha& ha = config_.ha;
    assign(ha.enabled, section.boolean("enabled"));
    assign(ha.timeout_ms,
           section.whole_number("timeout-ms", wire::kTimeoutMsMin, wire::kTimeoutMsMax));
    host_failures_ = section.whole_number("host-failures-to-tolerate", 0, kHostFailuresMax);
    const auto arbiter = section.text("arbiter");
    no_arbiter_ = arbiter == "none" ||
                  !(section.has("arbiter") || document_.broken_names.contains("arbiter"));
    if (arbiter && !no_arbiter_) {
      ha.arbiter = *arbiter;
      const std::string why = arbiter_mistake(*arbiter);
      if (!why.empty())
        section.mistake("arbiter", "arbiter = " + quoted(*arbiter) + " is no arbiter: " + why,
                        "write \"etcd:http://HOST:2379,http://...\", \"file:/FOLDER\" on storage "
                        "that all hosts see, or \"none\"");
    }
    assign(ha.yield, section.choice("yield", kYields));
    assign(ha.fencing, section.choice<Fencing>("fencing", {{"watchdog", Fencing::kWatchdog},
                                                           {"none", Fencing::kNone}}));
    assign(ha.watchdog_s, section.whole_number("watchdog-s", 2, 600));
    section.refuse_unknown_keys();
  }

  void read_host(const toml::table& table) {
    Host host;
    const auto name = table["name"].value_exact<std::string>();
    Section section(table, name ? "host " + *name : "[[host]]", document_);
    assign(host.uuid, read_uuid(section, uuids_));
    if (section.text("name", Section::kRequired)) {
      host.name = *name;
      check_name(section, host.name);
      host_names_.take(section, "name", host.name, "");
    }
    const auto role = section.choice<Role>(
        "role", {{"coordinator", Role::kCoordinator}, {"supporter", Role::kSupporter}},
        Section::kRequired);
    assign(host.role, role);
    if (role == Role::kCoordinator) {
      if (coordinator_line_ != 0)
        section.mistake(
            "role",
            "a second coordinator; the first is in line " + std::to_string(coordinator_line_),
            "write role = \"supporter\" for all hosts but one");
      else
        coordinator_line_ = section.line("role");
    }
    roles_known_ &= role.has_value();
    if (const auto address = section.text("management-address", Section::kRequired)) {
      host.management_address = *address;
      check_address(section, "management-address", *address);
      addresses_.take(section, "management-address", *address, "");
    }
    host.replication_address = host.management_address;
    if (const auto address = section.text("replication-address")) {
      host.replication_address = *address;
      check_address(section, "replication-address", *address);
      if (*address != host.management_address)
        addresses_.take(section, "replication-address", *address, "");
    }
    assign(host.memory_mib,
           section.whole_number("memory-mib", 64, kMemoryMibMax, Section::kRequired));
    section.refuse_unknown_keys();
    if (config_.hosts.size() == kHostsMax)
      section.mistake("name", "there are more than 64 hosts", "make a second pool");
    config_.hosts.push_back(std::move(host));
    host_lines_.push_back(section.line());
  }

  void check_hosts() {
    if (config_.hosts.empty()) {
      if (!document_.root.contains("host") && !document_.broken_names.contains("host"))
        mistake(1, "there is no host", "add a section [[host]] for each");
    } else if (coordinator_line_ == 0 && roles_known_) {
      mistake(host_lines_.front(), "no host is the coordinator",
              "write role = \"coordinator\" for the one that has /etc/specrep/tls/ca.key");
    }
  }

  void read_vm(const toml::table& table) {
    Vm vm;
    const auto name = table["name"].value_exact<std::string>();
    Section section(table, name ? "vm " + *name : "[[vm]]", document_);
    if (section.text("name", Section::kRequired)) {
      vm.name = *name;
      check_name(section, vm.name);
      if (all_of(vm.name, is_digit))
        section.mistake("name", "name = " + quoted(vm.name) + " would be the id of a domain to xl",
                        "put a letter into it, and into its xl configuration");
      vm_names_.take(section, "name", vm.name, "");
    }
    assign(vm.uuid, read_uuid(section, uuids_));
    if (const auto path = section.text("config", Section::kRequired)) {
      vm.config = *path;
      check_absolute_path(section, "config", *path);
      configs_.take(section, "config", *path, "");
    }
    assign(vm.memory_mib, section.whole_number("memory-mib", 1, kMemoryMibMax, Section::kRequired));
    const auto protection = section.choice<Protection>("protection",
                                                       {{"replicate", Protection::kReplicate},
                                                        {"restart", Protection::kRestart},
                                                        {"none", Protection::kNone}},
                                                       Section::kRequired);
    assign(vm.protection, protection);
    assign(vm.ha_restart_priority,
           section.whole_number_or("ha-restart-priority", 0, kRestartPriorityMax, "best-effort"));
    vm.ha_always_run = vm.protection != Protection::kNone;
    if (const auto always = section.boolean("ha-always-run")) {
      vm.ha_always_run = *always;
      if (*always && protection == Protection::kNone)
        section.mistake("ha-always-run", "ha-always-run = true has no effect without protection",
                        "write protection = \"restart\", or remove the line");
    }
    if (const auto host = section.text("preferred-host")) {
      vm.preferred_host = *host;
      check_is_host(section, "preferred-host", *host);
    }
    read_backup_hosts(section, vm);
    assign_int(vm.epoch_ms, section.whole_number("epoch-ms", 10, 60'000));
    assign_int(vm.max_delay_ms, section.whole_number("max-delay-ms", 20, 60'000));
    vm.max_overhead_percent = section.number("max-overhead-percent", 0.1, 90);
    for (const char* key : {"max-delay-ms", "max-overhead-percent"})
      if (section.has("epoch-ms") && section.has(key))
        section.mistake(key, std::string("both epoch-ms and ") + key + " say how long epochs are",
                        "remove one of the two lines");
    assign_int(vm.buffer_mib, section.whole_number("buffer-mib", 1, 1024));
    assign_int(vm.disk_rate_mib, section.whole_number("disk-rate-mib", 0, 100'000));
    vm.yield = config_.ha.yield;
    assign(vm.yield, section.choice("yield", kYields));
    section.refuse_unknown_keys();
    check_room(section, vm);
    if (config_.vms.size() == kVmsMax)
      section.mistake("name", "there are more than 1024 guests", "make a second pool");
    vm_lines_[vm.name] = section.line();
    config_.vms.push_back(std::move(vm));
  }

  void check_is_host(Section& section, const std::string& key, const std::string& name) {
    if (config_.find_host(name)) return;
    std::vector<std::string> names;
    for (const Host& host : config_.hosts) names.push_back(host.name);
    const std::string near = nearest(name, names);
    section.mistake(key, key + " names " + quoted(name) + ", which is no host of the pool",
                    near.empty() ? "write " + alternatives(names) : "did you mean " + near + "?");
  }

  void read_backup_hosts(Section& section, Vm& vm) {
    const auto names = section.texts("backup-hosts");
    if (!names) return;
    vm.backup_hosts = *names;
    if (names->empty())
      section.mistake("backup-hosts", "backup-hosts is empty",
                      "name hosts, or remove the line: then any host will do");
    for (std::size_t i = 0; i < names->size(); ++i) {
      check_is_host(section, "backup-hosts", (*names)[i]);
      if (std::find(names->begin(), names->begin() + static_cast<long>(i), (*names)[i]) !=
          names->begin() + static_cast<long>(i))
        section.mistake("backup-hosts", "backup-hosts names " + quoted((*names)[i]) + " twice",
                        "remove one");
    }
    if (names->size() == 1 && names->front() == vm.preferred_host)
      section.mistake("backup-hosts", "backup-hosts names the preferred host and no other",
                      "name another host, or remove the line: then any host will do");
    else if (names->size() == 1 && vm.preferred_host.empty() &&
             vm.protection == Protection::kReplicate)
      section.mistake("backup-hosts", "backup-hosts leaves one host for the guest and its copy",
                      "name another host here, or as preferred-host");
  }

  // Whether the guest, and its copy, could be on any of its hosts if it were the only one.
  void check_room(Section& section, const Vm& vm) {
    if (vm.protection == Protection::kReplicate && config_.hosts.size() < 2)
      return section.mistake("protection",
                             "protection = \"replicate\" takes two hosts; the pool has one",
                             "`specrep-pool join` on the second host first, or write \"restart\"");
    const std::vector<const Host*> allowed = config_.allowed_hosts(vm);
    const auto large_enough = [&](const Host* host) {
      return host->memory_mib == 0 || host->memory_mib >= vm.memory_mib;  // 0: its mistake is told
    };
    const auto count = std::count_if(allowed.begin(), allowed.end(), large_enough);
    if (allowed.empty()) return;
    const std::string size = "memory-mib = " + std::to_string(vm.memory_mib);
    if (count == 0)
      section.mistake("memory-mib", size + " is more than any of its hosts has",
                      "make the guest smaller, or allow it a larger host");
    else if (count == 1 && allowed.size() > 1 && vm.protection == Protection::kReplicate)
      section.mistake("memory-mib", size + " fits on one of its hosts only; none can have its copy",
                      "make the guest smaller, or allow it another large host");
  }

  void check_ha(Section& section) {
    const std::size_t hosts = config_.hosts.size();
    failures_line_ = section.line("host-failures-to-tolerate");
    Ha& ha = config_.ha;
    ha.host_failures_to_tolerate = hosts > 1 ? 1 : 0;
    assign(ha.host_failures_to_tolerate, host_failures_);
    if (ha.enabled && hosts > 2 && no_arbiter_)
      mistake(section.line("arbiter"),
              "[ha]: more than two hosts need an arbiter, and there is none",
              "write arbiter = \"etcd:http://HOST:2379,http://...\" or \"file:/FOLDER\" on storage "
              "that all hosts see");
    if (host_failures_ && hosts > 0 && static_cast<std::size_t>(*host_failures_) >= hosts)
      section.mistake("host-failures-to-tolerate",
                      "host-failures-to-tolerate = " + std::to_string(*host_failures_) +
                          " leaves no host of the pool's " + std::to_string(hosts),
                      "write at most " + std::to_string(hosts - 1));
  }

  TomlDocument& document_;
  Config config_;
  std::optional<std::int64_t> host_failures_;
  std::vector<std::size_t> host_lines_;
  std::map<std::string, std::size_t> vm_lines_;
  std::size_t failures_line_ = 0;
  std::size_t coordinator_line_ = 0;
  bool roles_known_ = true;  // of all hosts
  bool no_arbiter_ = false;
  Unique uuids_{"host and guest"};
  Unique host_names_{"host"};
  Unique vm_names_{"guest"};
  Unique addresses_{"host"};
  Unique configs_{"guest"};
};

}  // namespace

Reading read_config(const std::string& text) {
  TomlDocument document = parse_toml(text);
  Reading reading;
  Reader reader(document);
  reading.config = reader.read();
  // Without mistakes so far, so that nothing follows from another mistake.
  if (document.mistakes.empty()) reader.check_memory(reading.config);
  reading.mistakes = std::move(document.mistakes);
  std::stable_sort(reading.mistakes.begin(), reading.mistakes.end(),
                   [](const Mistake& a, const Mistake& b) { return a.line < b.line; });
  return reading;
}

}  // namespace specrep::pool
