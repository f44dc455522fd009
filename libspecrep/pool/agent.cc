#include "libspecrep/pool/agent.h"

#include <algorithm>

#include "libspecrep/error.h"

namespace specrep::pool {

namespace {

using namespace std::chrono_literals;

// A host that has said nothing for so long is not counted on. Asked once a second, it has missed
// several; nothing is started because of it.
constexpr Duration kSilenceMax = 5s;
// How long a guest must run nowhere before the coordinator says who starts it: longer than its word
// is good for, so that it says one thing at a time even if its agent is started anew in between.
constexpr Duration kNowhereMin = 6s;
// After a failure; doubled with each one, up to the second.
constexpr Duration kRetry = 5s, kRetryMax = 5min;
constexpr int kDoublingsMax = 6;
constexpr Duration kConfigAgain = 10s;

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

const char* to_string(Action::Kind kind) {
  switch (kind) {
    case Action::Kind::kProtect:
      return "protect";
    case Action::Kind::kStart:
      return "start";
    case Action::Kind::kSwitchOver:
      return "switch-over";
    case Action::Kind::kDiscard:
      return "discard-copy";
    case Action::Kind::kGiveUp:
      return "give-up";
    case Action::Kind::kTakeConfig:
      return "take-config";
  }
  return "";
}

nlohmann::json to_json(const HostReport& report) {
  nlohmann::json guests = nlohmann::json::array();
  for (const GuestSeen& guest : report.guests)
    guests.push_back({{"uuid", guest.uuid},
                      {"state", guest.state == GuestSeen::State::kRuns ? "runs" : "arrives"},
                      {"protection", guest.protection},
                      {"backup", guest.backup}});
  return {{"host", report.host},     {"generation", report.generation},
          {"digest", report.digest}, {"leaving", report.leaving},
          {"guests", guests},        {"failed_starts", report.failed_starts},
          {"starts", report.starts}};
}

HostReport to_report(const nlohmann::json& json) {
  try {
    HostReport report{
        json.at("host"),          json.at("generation"), json.at("digest"), json.at("leaving"), {},
        json.at("failed_starts"), json.at("starts")};
    for (const nlohmann::json& guest : json.at("guests")) {
      const std::string state = guest.at("state");
      // What a newer version may say besides is no reason to start it elsewhere.
      report.guests.push_back(
          {guest.at("uuid"), state == "runs" ? GuestSeen::State::kRuns : GuestSeen::State::kArrives,
           guest.at("protection"), guest.at("backup")});
    }
    return report;
  } catch (const nlohmann::json::exception& error) {
    throw Error(std::string("a host's report makes no sense: ") + error.what());
  }
}

Agent::Agent(std::string host, const Clock& clock) : host_(std::move(host)), clock_(clock) {}

void Agent::configure(Config config, std::string digest) {
  config_ = std::move(config);
  digest_ = std::move(digest);
  std::erase_if(others_, [this](const auto& other) { return !config_.find_host(other.first); });
}

void Agent::observe(std::vector<GuestSeen> guests) {
  here_ = std::move(guests);
  observed_ = true;
}

void Agent::hear(HostReport report, TimePoint asked) {
  if (!is_up(report.host))  // what failed since it was gone may succeed now
    for (auto& [guest, progress] : progress_) progress.not_before = {};
  const std::string host = report.host;
  others_[host] = {std::move(report), asked};
}

void Agent::done(Action::Kind kind, const std::string& guest, const std::string& error) {
  Progress& progress = progress_[guest];
  if (!progress.action || progress.action->kind != kind) return;
  const std::string host = progress.action->host;
  progress.action.reset();
  progress.nowhere_since.reset();
  if (error.empty()) {
    // Not to be overlooked until the next look.
    if (const Vm* vm = config_.find_vm(guest); kind == Action::Kind::kStart && vm)
      here_.push_back({vm->uuid, GuestSeen::State::kRuns, {}, {}});
    return;
  }
  progress.failed_host = host;
  progress.start_failed = kind == Action::Kind::kStart;
  const Duration pause = kRetry * (1 << std::min(progress.failures, kDoublingsMax));
  ++progress.failures;
  progress.not_before = clock_.now() + std::min<Duration>(pause, kRetryMax);
  progress.waiting = error;
}

HostReport Agent::report() const {
  HostReport report{host_, config_.generation, digest_, leaving_, here_, {}, {}};
  for (const Vm& vm : config_.vms) {
    const auto at = progress_.find(vm.name);
    if (at == progress_.end() || find_here(vm.uuid)) continue;
    const Progress& progress = at->second;
    if (progress.action && progress.action->kind == Action::Kind::kStart)
      report.guests.push_back({vm.uuid, GuestSeen::State::kArrives, {}, {}});
    else if (progress.start_failed)
      report.failed_starts.insert(vm.name);
    if (!progress.starter.empty()) report.starts[vm.name] = progress.starter;
  }
  return report;
}

bool Agent::is_up(const std::string& host) const {
  if (host == host_) return true;
  const auto ago = heard_ago(host);
  return ago && *ago <= kSilenceMax;
}

bool Agent::has_restart_guests() const {
  return std::any_of(config_.vms.begin(), config_.vms.end(), [this](const Vm& vm) {
    if (vm.protection != Protection::kRestart) return false;
    const auto at = progress_.find(vm.name);
    return find_here(vm.uuid) != nullptr || (at != progress_.end() && at->second.action &&
                                             at->second.action->kind == Action::Kind::kStart);
  });
}

std::optional<Duration> Agent::heard_ago(const std::string& host) const {
  const auto heard = others_.find(host);
  if (heard == others_.end()) return std::nullopt;
  return clock_.now() - heard->second.asked;
}

const HostReport* Agent::last_report(const std::string& host) const {
  const auto heard = others_.find(host);
  return heard == others_.end() ? nullptr : &heard->second.report;
}

const GuestSeen* Agent::find_here(const std::string& uuid) const {
  const auto at = std::find_if(here_.begin(), here_.end(),
                               [&](const GuestSeen& guest) { return guest.uuid == uuid; });
  return at == here_.end() ? nullptr : &*at;
}

std::vector<std::string> Agent::hosts_with(const std::string& uuid,
                                           std::optional<GuestSeen::State> state) const {
  std::vector<std::string> hosts;
  for (const auto& [name, heard] : others_)
    for (const GuestSeen& guest : heard.report.guests)
      if (guest.uuid == uuid && (!state || guest.state == *state)) hosts.push_back(name);
  return hosts;
}

std::vector<Action> Agent::step() {
  std::vector<Action> actions;
  if (!observed_) return actions;
  for (const auto& [name, heard] : others_)
    if (heard.report.generation > config_.generation && is_up(name) &&
        (!config_asked_ || clock_.now() - *config_asked_ >= kConfigAgain)) {
      config_asked_ = clock_.now();
      actions.push_back({Action::Kind::kTakeConfig, {}, name, "its pool.conf is newer"});
    }
  if (life_.give_up) give_up(actions);
  for (const Vm& vm : config_.vms) {
    Progress& progress = progress_[vm.name];
    const GuestSeen* seen = find_here(vm.uuid);
    if (seen) {
      progress.nowhere_since.reset();
      progress.starter.clear();
      progress.could_not.clear();
      progress.start_failed = false;
    }
    if (seen && seen->protection == "protected") {
      progress.failures = 0;
      progress.failed_host.clear();
    }
    // A protection is outstanding for as long as it lasts.
    const bool may_leave =
        leaving_ && progress.action && progress.action->kind == Action::Kind::kProtect;
    if (progress.action && !may_leave) continue;
    if (seen && leaving_)
      decide_leaving(vm, *seen, progress, actions);
    else if (!config_.ha.enabled)
      progress.waiting.clear();
    else if (seen && seen->state == GuestSeen::State::kRuns)
      decide_running(vm, *seen, progress, actions);
    else if (!seen && !leaving_)
      decide_absent(vm, progress, actions);
    else
      progress.waiting.clear();
  }
  return actions;
}

void Agent::give_up(std::vector<Action>& actions) {
  for (const Vm& vm : config_.vms) {
    Progress& progress = progress_[vm.name];
    if (vm.protection == Protection::kRestart && find_here(vm.uuid) && !progress.action)
      act({Action::Kind::kGiveUp, vm.name, host_,
           "this host was declared dead or may soon be, and another may start it"},
          progress, actions);
  }
}

bool Agent::is_gone(const std::string& host, const Vm& vm) const {
  return vm.protection == Protection::kRestart && !is_up(host) && life_.dead.contains(host);
}

std::string Agent::coordinator_for(const Vm& vm) const {
  const std::string& coordinator = config_.coordinator().name;
  if (!is_gone(coordinator, vm)) return coordinator;
  return std::find_if(config_.hosts.begin(), config_.hosts.end(),
                      [&](const Host& host) { return !is_gone(host.name, vm); })
      ->name;
}

void Agent::act(Action action, Progress& progress, std::vector<Action>& actions) {
  progress.action = action;
  progress.waiting.clear();
  actions.push_back(std::move(action));
}

void Agent::decide_running(const Vm& vm, const GuestSeen& seen, Progress& progress,
                           std::vector<Action>& actions) {
  if (vm.protection != Protection::kReplicate || !seen.protection.empty()) {
    progress.waiting.clear();
    return;
  }
  if (clock_.now() < progress.not_before) return;  // `waiting` says why
  // One of the two is about to be ended, as the arbiter has decided.
  auto others = hosts_with(vm.uuid, GuestSeen::State::kRuns);
  std::erase_if(others, [this](const std::string& other) { return !is_up(other); });
  if (!others.empty()) {
    progress.waiting = "it runs on " + listed(others) + ", too";
    return;
  }
  const std::string backup = choose_backup(vm, progress);
  if (backup.empty()) {
    progress.waiting = "no other host that may keep its copy is up and has memory for it";
    return;
  }
  act({Action::Kind::kProtect, vm.name, backup, "it runs here and is not protected"}, progress,
      actions);
}

void Agent::decide_absent(const Vm& vm, Progress& progress, std::vector<Action>& actions) {
  if (!vm.ha_always_run) {
    progress.waiting.clear();
    return;
  }
  auto others = hosts_with(vm.uuid);
  std::erase_if(others, [&](const std::string& other) { return is_gone(other, vm); });
  const bool set_back = vm.protection == Protection::kRestart && life_.set_back;
  if (!others.empty() || set_back) {
    progress.nowhere_since.reset();
    progress.starter.clear();
    progress.could_not.clear();
    progress.start_failed = false;
    progress.waiting =
        set_back ? "this host was declared dead, and the others may have started it" : "";
    for (const std::string& other : others)
      if (!is_up(other)) progress.waiting = other + ", which had it, does not answer";
    return;
  }
  const TimePoint now = clock_.now();
  if (!progress.nowhere_since) progress.nowhere_since = now;
  if (const std::string missing = doubt(vm, progress); !missing.empty()) {
    if (now >= progress.not_before) progress.waiting = missing;
    return;
  }
  const std::string coordinator = coordinator_for(vm);
  if (coordinator == host_ && now - *progress.nowhere_since >= kNowhereMin)
    choose_starter(vm, progress);
  std::string starter = progress.starter;
  if (coordinator != host_) {
    const auto& starts = others_.at(coordinator).report.starts;
    const auto told = starts.find(vm.name);
    starter = told == starts.end() ? "" : told->second;
  }
  if (starter != host_) progress.start_failed = false;
  if (now < progress.not_before) return;
  progress.waiting = starter.empty() ? "the coordinator has yet to say where it is started"
                                     : "to be started on " + starter;
  if (starter == host_)
    act({Action::Kind::kStart, vm.name, host_, "it runs on no host of the pool"}, progress,
        actions);
}

std::string Agent::doubt(const Vm& vm, const Progress& progress) const {
  for (const Host& host : config_.hosts) {
    if (host.name == host_ || is_gone(host.name, vm)) continue;
    if (!is_up(host.name)) return host.name + " may run it, and does not answer";
    const Heard& heard = others_.at(host.name);
    // By another pool.conf it could have another coordinator.
    if (heard.report.digest != digest_) return host.name + " has another pool.conf";
    // Somebody who had it before may have sent it there.
    if (heard.asked <= *progress.nowhere_since) return "waiting for the answer of " + host.name;
  }
  return {};
}

// Kept until it has failed: nobody else may begin while it may be about to.
void Agent::choose_starter(const Vm& vm, Progress& progress) {
  if (!progress.starter.empty()) {
    const HostReport* report = last_report(progress.starter);
    const bool failed = progress.starter == host_
                            ? progress.start_failed
                            : is_gone(progress.starter, vm) ||
                                  (report->failed_starts.contains(vm.name) &&
                                   others_.at(progress.starter).asked > progress.starter_since);
    if (!failed) return;
    progress.could_not.insert(progress.starter);
    progress.starter.clear();
  }
  const HostNames up = hosts_that_take_guests();
  const auto may = [&](const std::string& host) {
    return up.contains(host) && !progress.could_not.contains(host);
  };
  const Assignment assignment = assign(config_, up, placements(), {{vm.name, {}}});
  const auto placed = assignment.placements.find(vm.name);
  if (placed != assignment.placements.end() && may(placed->second.host))
    progress.starter = placed->second.host;
  for (const Host* host : config_.allowed_hosts(vm))
    if (progress.starter.empty() && may(host->name)) progress.starter = host->name;
  progress.starter_since = clock_.now();
  if (progress.starter.empty()) progress.could_not.clear();  // all have failed: all over again
}

HostNames Agent::hosts_that_take_guests() const {
  HostNames names;
  for (const Host& host : config_.hosts) {
    const HostReport* report = last_report(host.name);
    if (is_up(host.name) && (host.name == host_ ? !leaving_ : !report->leaving))
      names.insert(host.name);
  }
  return names;
}

Placements Agent::placements() const {
  Placements placements;
  for (const GuestStatus& guest : status())
    if (!guest.host.empty()) placements[guest.name] = {guest.host, guest.backup};
  return placements;
}

void Agent::decide_leaving(const Vm& vm, const GuestSeen& seen, Progress& progress,
                           std::vector<Action>& actions) {
  if (clock_.now() < progress.not_before) return;
  if (seen.state == GuestSeen::State::kArrives) {
    act({Action::Kind::kDiscard, vm.name, host_, "this host is being shut down"}, progress,
        actions);
    return;
  }
  if (seen.protection != "protected" || !is_up(seen.backup)) {
    progress.waiting = "it has no copy on a host that is up";
    return;
  }
  act({Action::Kind::kSwitchOver, vm.name, seen.backup, "this host is being shut down"}, progress,
      actions);
}

// The best that is up and has memory; after a failure another, if there is one.
std::string Agent::choose_backup(const Vm& vm, const Progress& progress) const {
  HostNames up = hosts_that_take_guests();
  const Placements now = placements();
  // Their memory is not to go to a copy, as specrep-pool plan promises.
  Starts restarts = missing_guests(config_, now);
  std::erase_if(restarts, [this](const auto& start) {
    return config_.find_vm(start.first)->protection != Protection::kRestart;
  });
  const auto choose = [&] {
    const Assignment assignment = assign(config_, up, now, restarts);
    const auto placed = assignment.placements.find(vm.name);
    return placed == assignment.placements.end() ? std::string() : placed->second.backup;
  };
  up.erase(progress.failed_host);
  const std::string backup = choose();
  if (!backup.empty() || progress.failed_host.empty()) return backup;
  up = hosts_that_take_guests();
  return choose();
}

std::vector<Agent::GuestStatus> Agent::status() const {
  std::vector<GuestStatus> all;
  for (const Vm& vm : config_.vms) {
    GuestStatus status{vm.name, {}, {}, "unknown", {}};
    const auto describe = [&status](const std::string& host, const GuestSeen& guest) {
      if (guest.state != GuestSeen::State::kRuns) return;
      status.host = host;
      status.backup = guest.backup;
      status.state = guest.protection.empty() ? "unprotected" : guest.protection;
    };
    bool all_up = true;
    for (const Host& host : config_.hosts) {
      all_up &= is_up(host.name);
      if (const HostReport* report = last_report(host.name); report && is_up(host.name))
        for (const GuestSeen& guest : report->guests)
          if (guest.uuid == vm.uuid) describe(host.name, guest);
    }
    if (const GuestSeen* guest = find_here(vm.uuid)) describe(host_, *guest);
    if (status.host.empty() && all_up) status.state = "stopped";
    if (const auto progress = progress_.find(vm.name); progress != progress_.end()) {
      status.waiting = progress->second.waiting;
      if (const auto& action = progress->second.action;
          action && status.waiting.empty() && action->kind != Action::Kind::kProtect)
        status.waiting = std::string(to_string(action->kind)) + ": " + action->why;
    }
    all.push_back(std::move(status));
  }
  return all;
}

}  // namespace specrep::pool
