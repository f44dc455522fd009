#include "tools/agent/deed.h"

#include <unistd.h>

#include <fstream>
#include <sstream>

#include "libspecrep/error.h"
#include "tools/agent/sight.h"

namespace specrep::tools {

namespace {

constexpr const char* kXl = SPECREP_EXEC_FOLDER "/xl-specrep";
constexpr const char* kConnect = SPECREP_EXEC_FOLDER "/specrep-connect";
constexpr const char* kOutputFolder = "/run/specrep/";

// What systemd allows in a unit's name.
std::string unit_name(const std::string& guest) {
  std::string name = "specrep-protect-";
  for (const char c : guest) {
    const bool plain =
        std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
    name += plain ? c : '_';
  }
  return name;
}

std::vector<std::string> in_unit(const std::vector<std::string>& options, const std::string& output,
                                 const std::vector<std::string>& command) {
  std::vector<std::string> words = {"systemd-run", "--quiet", "--collect",
                                    "--property=StandardOutput=truncate:" + output,
                                    "--property=StandardError=inherit"};
  words.insert(words.end(), options.begin(), options.end());
  words.emplace_back("--");
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

std::vector<std::string> protect_command(const pool::Vm& vm, const pool::Host& backup,
                                         const pool::Ha& ha) {
  std::vector<std::string> words = {kXl, "remus-spec", "-s", kConnect};
  const auto add = [&words](const char* option, const auto& value) {
    std::ostringstream text;
    text << value;
    words.insert(words.end(), {option, text.str()});
  };
  if (vm.epoch_ms) add("-i", *vm.epoch_ms);
  if (vm.max_delay_ms) add("--max-delay", *vm.max_delay_ms);
  if (vm.max_overhead_percent) add("--max-overhead", *vm.max_overhead_percent);
  if (vm.buffer_mib) add("--buffer", *vm.buffer_mib);
  if (vm.disk_rate_mib) add("--disk-rate", *vm.disk_rate_mib);
  add("--timeout", ha.timeout_ms);
  if (ha.arbiter.empty())
    add("--yield", to_string(vm.yield));
  else
    add("--arbiter", ha.arbiter);
  if (ha.fencing == pool::Fencing::kWatchdog) add("--watchdog", ha.watchdog_s);
  add("--address", backup.replication_address);
  words.insert(words.end(), {vm.name, backup.name});
  return words;
}

Deed::Deed(const pool::Action& action, const pool::Config& config) : action_(action) {
  const pool::Vm* vm = config.find_vm(action.guest);
  const pool::Host* host = config.find_host(action.host);
  if (vm == nullptr || host == nullptr) throw Error("it is not in pool.conf any more");
  uuid_ = vm->uuid;
  output_ = kOutputFolder + action.guest + "." + to_string(action.kind) + ".out";
  switch (action.kind) {
    case pool::Action::Kind::kProtect:
      // Its processes end in order at one SIGTERM to the first. When the host is shut down the
      // agent ends before them, and they before the network.
      child_ = std::make_unique<Child>(
          in_unit({"--unit=" + unit_name(vm->name), "--wait", "--property=KillMode=mixed",
                   "--property=After=network.target", "--property=Before=specrep-agent.service",
                   "--description=specrep protects " + vm->name},
                  output_, protect_command(*vm, *host, config.ha)));
      break;
    case pool::Action::Kind::kStart:
      // What xl leaves behind, the process that stays with the guest and its device model, is
      // nobody's to end.
      child_ = std::make_unique<Child>(
          in_unit({"--property=Type=forking", "--property=KillMode=process",
                   "--property=SendSIGKILL=no", "--description=specrep started " + vm->name},
                  output_, {"xl", "create", vm->config}));
      break;
    case pool::Action::Kind::kSwitchOver:
      output_.clear();
      child_ =
          std::make_unique<Child>(std::vector<std::string>{kXl, "remus-spec-failover", vm->name});
      break;
    case pool::Action::Kind::kDiscard:
      discard_copy(uuid_);
      break;
    case pool::Action::Kind::kGiveUp:
      output_.clear();
      child_ = std::make_unique<Child>(std::vector<std::string>{"xl", "destroy", vm->name});
      break;
    case pool::Action::Kind::kTakeConfig:
      break;
  }
}

std::optional<std::string> Deed::ended() {
  if (!child_) return std::string();
  const auto status = child_->ended();
  if (!status) return std::nullopt;
  std::string said = child_->said();
  if (!output_.empty()) {
    const std::string printed = last_words(read_text(output_));
    unlink(output_.c_str());
    if (!printed.empty()) said = printed;
  }
  if (*status == 0) return std::string();
  return said.empty() ? "exit status " + std::to_string(*status) : said;
}

}  // namespace specrep::tools
