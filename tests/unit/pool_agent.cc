// The agents of a pool, in a world where what they do happens at once or after a while, and hosts
// die.

#include <boost/test/unit_test.hpp>
#include <map>
#include <memory>
#include <random>

#include "libspecrep/error.h"
#include "libspecrep/pool/agent.h"
#include "libspecrep/pool/liveness.h"

namespace {

using namespace specrep;
using namespace specrep::pool;
using namespace std::chrono_literals;
using State = GuestSeen::State;
using Kind = Action::Kind;

Host host(const std::string& name, Role role = Role::kSupporter) {
  Host host;
  host.uuid = host.name = host.management_address = host.replication_address = name;
  host.role = role;
  host.memory_mib = 1000;
  return host;
}

Vm guest(const std::string& name, Protection protection = Protection::kReplicate) {
  Vm vm;
  vm.name = vm.uuid = name;
  vm.memory_mib = 100;
  vm.protection = protection;
  vm.ha_always_run = protection != Protection::kNone;
  return vm;
}

Config pool_of(int hosts, std::vector<Vm> guests) {
  Config config;
  config.uuid = "pool";
  config.generation = 1;
  for (int i = 1; i <= hosts; ++i)
    config.hosts.push_back(
        host("h" + std::to_string(i), i == 1 ? Role::kCoordinator : Role::kSupporter));
  config.vms = std::move(guests);
  return config;
}

// The third party, which some hosts may not reach.
class Store final : public arbiter::FenceStore {
 public:
  Store(std::map<std::string, arbiter::Fence>& records, const bool& reached)
      : records_(records), reached_(reached) {}
  std::optional<arbiter::Fence> update(const std::string& key, Change change, TimePoint) override {
    if (!reached_) throw Error("it does not answer");
    const auto at = records_.find(key);
    const auto fence = change(at == records_.end() ? std::nullopt : std::optional(at->second));
    if (fence) records_[key] = *fence;
    return fence;
  }
  std::string how_to_remove(const std::string&) const override { return {}; }

 private:
  std::map<std::string, arbiter::Fence>& records_;
  const bool& reached_;
};

// Hosts with what truly runs on them. A tick is a second: each host looks, each hears each, then
// each does what its agent says.
class World {
 public:
  explicit World(Config config, bool reaches_store = true) : config_(std::move(config)) {
    for (const Host& host : config_.hosts) {
      reach_store(host.name, reaches_store);
      power_on(host.name);
    }
  }

  void power_on(const std::string& name) {
    hosts_[name].guests.clear();
    hosts_[name].on = true;
    hosts_[name].verdict.alive_until = clock_.now() + kWatch;
    start_agent(name);
  }
  void start_agent(const std::string& name) {
    HostState& it = hosts_[name];
    it.agent = std::make_unique<Agent>(name, clock_);
    it.agent->configure(config_, "digest");
    it.asked_by.clear();
    if (!config_.ha.fences_hosts()) return;
    it.store = std::make_unique<Store>(records_, it.reaches_store);
    const auto alive_until = it.watched ? std::optional(it.verdict.alive_until) : std::nullopt;
    it.liveness = std::make_unique<Liveness>(name, kWatch, *it.store, clock_, alive_until,
                                             [&it] { it.watched = true; });
    it.liveness->configure(config_);
    if (!alive_until || clock_.now() < *alive_until) it.fed = clock_.now();
    it.verdict = {};
    it.verdict.alive_until = it.liveness->alive_until_before();
  }
  // In order, so that its watchdog is disarmed; whether that succeeds.
  bool end_agent(const std::string& name) {
    HostState& it = hosts_[name];
    try {
      it.liveness->withdraw();
    } catch (const Error&) {
      return false;
    }
    it.liveness.reset();
    it.watched = false;
    return true;
  }
  // Copies of what was protected go on elsewhere.
  void cut_power(const std::string& name) {
    for (auto& [uuid, seen] : hosts_[name].guests) {
      if (seen.state == State::kRuns && seen.protection == "protected" &&
          hosts_[seen.backup].guests.contains(uuid))
        hosts_[seen.backup].guests[uuid] = {uuid, State::kRuns, {}, {}};
    }
    hosts_[name].on = false;
    hosts_[name].guests.clear();
    for (auto& [other, it] : hosts_)  // those whose copy it had
      for (auto& [uuid, seen] : it.guests)
        if (seen.backup == name) seen = {uuid, State::kRuns, {}, {}};
    for (auto& other : hosts_)  // copies of what it ran, or that were not complete
      std::erase_if(other.second.guests, [&](const auto& entry) {
        return entry.second.state == State::kArrives && copy_of(entry.first) != other.first;
      });
  }
  void run(const std::string& uuid, const std::string& on) {
    hosts_[on].guests[uuid] = {uuid, State::kRuns, {}, {}};
  }
  void stop(const std::string& uuid) {
    for (auto& [name, it] : hosts_) it.guests.erase(uuid);
  }
  void tick(int seconds = 1) {
    for (int i = 0; i < seconds; ++i) one_tick();
  }

  std::vector<std::string> running_on(const std::string& uuid) const {
    std::vector<std::string> on;
    for (const auto& [name, it] : hosts_)
      if (const auto at = it.guests.find(uuid);
          at != it.guests.end() && at->second.state == State::kRuns)
        on.push_back(name);
    return on;
  }
  std::string where(const std::string& uuid) const {
    const auto on = running_on(uuid);
    BOOST_REQUIRE(on.size() <= 1u);
    return on.empty() ? "" : on[0];
  }
  std::string copy_of(const std::string& uuid) const {
    for (const auto& [name, it] : hosts_)
      if (const auto at = it.guests.find(uuid);
          at != it.guests.end() && at->second.protection == "protected")
        return at->second.backup;
    return "";
  }
  std::string waiting(const std::string& on, const std::string& name) const {
    for (const auto& status : hosts_.at(on).agent->status())
      if (status.name == name) return status.waiting;
    return "?";
  }
  // Its dom0 hangs: whatever runs there runs on, until the watchdog restarts it.
  void hang(const std::string& name, bool hangs = true) { hosts_[name].hangs = hangs; }
  void reach_store(const std::string& name, bool reaches) { hosts_[name].reaches_store = reaches; }
  void isolate(const std::string& name, bool isolated) {
    for (const auto& [other, it] : hosts_)
      if (other != name)
        for (const auto& pair : {std::pair(name, other), std::pair(other, name)})
          isolated ? void(cut.insert(pair)) : void(cut.erase(pair));
  }
  int resets = 0;  // by watchdogs
  std::map<std::string, arbiter::Fence>& records() { return records_; }
  static constexpr Duration kWatch = 10s;

  Agent& agent(const std::string& name) { return *hosts_[name].agent; }
  bool on(const std::string& name) const { return hosts_.at(name).on; }

  // What fails; may be changed at any time.
  std::set<std::string> hosts_that_keep_no_copy, hosts_that_start_nothing;
  // Pairs that do not hear each other.
  std::set<std::pair<std::string, std::string>> cut;
  std::vector<Action> log;

 private:
  struct HostState {
    bool on = false;
    bool hangs = false;
    bool reaches_store = true;
    std::unique_ptr<Agent> agent;
    std::map<std::string, GuestSeen> guests;
    std::unique_ptr<Store> store;
    std::unique_ptr<Liveness> liveness;
    Liveness::Verdict verdict;
    bool watched = false;  // is kept over boots
    TimePoint fed;
    std::map<std::string, TimePoint> asked_by;
  };

  bool thinks(const HostState& it) const { return it.on && !it.hangs; }

  // What specrep-agent and the watchdog do.
  void live(const std::string& name, HostState& it) {
    if (it.liveness && thinks(it)) {
      Liveness::Seen seen;
      seen.has_restart_guests = it.agent->has_restart_guests();
      seen.asked = it.asked_by;
      for (const Host& other : config_.hosts)
        if (const auto ago = it.agent->heard_ago(other.name))
          seen.answered[other.name] = clock_.now() - *ago;
      if (seconds_ % 2 == 0) it.verdict = it.liveness->turn(seen);
      const TimePoint now = clock_.now();
      const TimePoint alive_until = it.verdict.alive_until;
      it.agent->know({now >= alive_until - kWatch / Liveness::kGiveUpShare, it.verdict.set_back,
                      it.verdict.dead});
      if (now < alive_until || !seen.has_restart_guests) it.fed = now;
    }
    if (it.liveness && it.on && clock_.now() - it.fed > kWatch) {
      ++resets;
      cut_power(name);
      it.hangs = false;
      power_on(name);
    }
  }

  void one_tick() {
    clock_.advance(1s);
    ++seconds_;
    for (auto& [name, it] : hosts_) {
      if (!thinks(it)) continue;
      std::vector<GuestSeen> seen;
      for (const auto& [uuid, guest] : it.guests) seen.push_back(guest);
      it.agent->observe(std::move(seen));
    }
    for (auto& [name, it] : hosts_)
      for (auto& [other, its] : hosts_)
        if (name != other && thinks(it) && thinks(its) && !cut.contains({name, other})) {
          it.agent->hear(to_report(to_json(its.agent->report())), clock_.now());
          its.asked_by[name] = clock_.now();
        }
    for (auto& [name, it] : hosts_) live(name, it);
    for (auto& [name, it] : hosts_)
      if (thinks(it))
        for (const Action& action : it.agent->step()) perform(name, action);
    for (auto& [name, it] : hosts_)
      for (auto& [uuid, guest] : it.guests)
        if (guest.protection == "first-copy") guest.protection = "protected";
    for (const Vm& vm : config_.vms)
      if (vm.protection == Protection::kRestart) where(vm.uuid);
  }

  void perform(const std::string& by, const Action& action) {
    log.push_back(action);
    auto& here = hosts_[by].guests;
    Agent& agent = *hosts_[by].agent;
    switch (action.kind) {
      case Kind::kProtect:
        if (hosts_that_keep_no_copy.contains(action.host) || !hosts_[action.host].on)
          return agent.done(action.kind, action.guest, "no way");
        hosts_[action.host].guests[action.guest] = {action.guest, State::kArrives, {}, {}};
        here[action.guest].protection = "first-copy";
        here[action.guest].backup = action.host;
        return agent.done(action.kind, action.guest, "");
      case Kind::kStart:
        if (!hosts_that_start_nothing.contains(by)) run(action.guest, by);
        return agent.done(action.kind, action.guest,
                          hosts_that_start_nothing.contains(by) ? "no memory" : "");
      case Kind::kSwitchOver:
        hosts_[action.host].guests[action.guest] = {action.guest, State::kRuns, {}, {}};
        here.erase(action.guest);
        return agent.done(action.kind, action.guest, "");
      case Kind::kDiscard:
        here.erase(action.guest);
        for (auto& [name, it] : hosts_)
          if (it.guests.contains(action.guest)) it.guests[action.guest].protection = "";
        return agent.done(action.kind, action.guest, "");
      case Kind::kGiveUp:
        here.erase(action.guest);
        return agent.done(action.kind, action.guest, "");
      case Kind::kTakeConfig:
        return;
    }
  }

  Config config_;
  ManualClock clock_;
  int seconds_ = 0;
  std::map<std::string, arbiter::Fence> records_;
  std::map<std::string, HostState> hosts_;
};

std::size_t count(const std::vector<Action>& log, Kind kind) {
  return static_cast<std::size_t>(
      std::count_if(log.begin(), log.end(), [&](const Action& a) { return a.kind == kind; }));
}

bool contains(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pool_agent)

BOOST_AUTO_TEST_CASE(what_runs_is_protected_and_protected_again_after_a_failover) {
  World world(pool_of(2, {guest("a"), guest("b"), guest("c", Protection::kNone)}));
  for (const char* name : {"a", "b", "c"}) world.run(name, "h1");
  world.tick(3);
  BOOST_TEST(world.copy_of("a") == "h2");
  BOOST_TEST(world.copy_of("b") == "h2");
  BOOST_TEST(world.copy_of("c") == "");
  BOOST_TEST(count(world.log, Kind::kProtect) == 2u);

  world.cut_power("h1");
  world.tick(30);
  BOOST_TEST(world.where("a") == "h2");
  BOOST_TEST(contains(world.waiting("h2", "a"), "no other host"));
  BOOST_TEST(world.where("c") == "");  // nobody asked for it

  world.power_on("h1");
  world.tick(3);
  BOOST_TEST(world.where("a") == "h2");
  BOOST_TEST(world.copy_of("a") == "h1");
  BOOST_TEST(world.copy_of("b") == "h1");
}

BOOST_AUTO_TEST_CASE(a_copy_that_is_lost_is_made_on_a_third_host) {
  World world(pool_of(3, {guest("a")}));
  world.run("a", "h1");
  world.tick(3);
  const std::string first = world.copy_of("a");
  world.cut_power(first);
  world.tick(10);
  BOOST_TEST(world.copy_of("a") == (first == "h2" ? "h3" : "h2"));
}

BOOST_AUTO_TEST_CASE(a_host_that_cannot_keep_the_copy_is_passed_over) {
  World world(pool_of(3, {guest("a")}));
  world.hosts_that_keep_no_copy = {"h2"};
  world.run("a", "h1");
  world.tick(30);
  BOOST_TEST(world.copy_of("a") == "h3");
}

BOOST_AUTO_TEST_CASE(an_attempt_that_fails_is_explained_and_repeated_more_and_more_seldom) {
  World world(pool_of(2, {guest("a")}));
  world.hosts_that_keep_no_copy = {"h2"};
  world.run("a", "h1");
  world.tick(4);
  BOOST_TEST(world.waiting("h1", "a") == "no way");
  world.tick(3600);
  const std::size_t attempts = count(world.log, Kind::kProtect);
  BOOST_TEST(attempts >= 10u);
  BOOST_TEST(attempts <= 24u);
  world.hosts_that_keep_no_copy.clear();
  world.tick(320);
  BOOST_TEST(world.copy_of("a") == "h2");
}

BOOST_AUTO_TEST_CASE(a_host_that_returns_is_not_kept_waiting_for_failures_of_before) {
  World world(pool_of(2, {guest("a")}));
  world.hosts_that_keep_no_copy = {"h2"};
  world.run("a", "h1");
  world.tick(1200);
  world.cut_power("h2");
  world.tick(10);
  world.hosts_that_keep_no_copy.clear();
  world.power_on("h2");
  world.tick(3);
  BOOST_TEST(world.copy_of("a") == "h2");
}

BOOST_AUTO_TEST_CASE(what_runs_nowhere_is_started_once_and_protected) {
  Vm preferring = guest("b");
  preferring.preferred_host = "h2";
  World world(pool_of(2, {guest("a"), preferring, guest("c", Protection::kNone)}));
  world.tick(20);
  BOOST_TEST(!world.where("a").empty());
  BOOST_TEST(world.where("b") == "h2");
  BOOST_TEST(world.copy_of("b") == "h1");
  BOOST_TEST(world.where("c") == "");
  BOOST_TEST(count(world.log, Kind::kStart) == 2u);
}

BOOST_AUTO_TEST_CASE(nothing_is_started_while_a_host_is_silent) {
  World world(pool_of(3, {guest("a", Protection::kRestart)}));
  world.cut = {{"h1", "h3"}};
  world.run("a", "h3");  // where h1 cannot see it
  world.tick(60);
  BOOST_TEST(world.where("a") == "h3");
  BOOST_TEST(contains(world.waiting("h1", "a"), "h3 may run it"));
  world.stop("a");
  world.tick(60);
  BOOST_TEST(world.where("a") == "");
  world.cut.clear();
  world.tick(20);
  BOOST_TEST(!world.where("a").empty());
}

BOOST_AUTO_TEST_CASE(a_guest_that_is_on_its_way_is_not_started) {
  World world(pool_of(2, {guest("a", Protection::kRestart)}));
  world.run("a", "h1");
  world.tick(5);
  world.stop("a");
  Agent& h1 = world.agent("h1");
  // h2 says every second that it is about to have it.
  for (int i = 0; i < 30; ++i) {
    HostReport report = world.agent("h2").report();
    report.guests = {{"a", State::kArrives, {}, {}}};
    world.cut = {{"h1", "h2"}};
    world.tick();
    h1.hear(report, TimePoint::max());
  }
  BOOST_TEST(world.where("a") == "");
}

BOOST_AUTO_TEST_CASE(a_host_that_cannot_start_a_guest_is_followed_by_the_next) {
  World world(pool_of(3, {guest("a")}));
  world.hosts_that_start_nothing = {"h1", "h2"};
  world.tick(60);
  BOOST_TEST(world.where("a") == "h3");
}

BOOST_AUTO_TEST_CASE(a_host_with_another_pool_conf_keeps_guests_from_being_started) {
  World world(pool_of(2, {guest("a")}));
  world.agent("h2").configure(pool_of(2, {guest("a"), guest("b")}), "other digest");
  world.tick(30);
  BOOST_TEST(world.where("a") == "");
  BOOST_TEST(contains(world.waiting("h1", "a"), "another pool.conf"));
}

BOOST_AUTO_TEST_CASE(a_newer_pool_conf_is_taken_from_who_has_it) {
  World world(pool_of(2, {guest("a")}));
  Config newer = pool_of(2, {guest("a")});
  newer.generation = 2;
  world.agent("h2").configure(newer, "newer");
  world.tick(2);
  BOOST_REQUIRE(count(world.log, Kind::kTakeConfig) == 1u);
  BOOST_TEST(world.log.front().host == "h2");
}

BOOST_AUTO_TEST_CASE(a_host_that_is_shut_down_hands_over_its_guests_and_its_copies) {
  World world(pool_of(2, {guest("a"), guest("b"), guest("c", Protection::kNone)}));
  world.run("a", "h1");
  world.run("b", "h2");
  world.run("c", "h1");
  world.tick(3);
  world.agent("h1").leave();
  world.tick(3);
  BOOST_TEST(world.where("a") == "h2");
  BOOST_TEST(world.where("c") == "h1");  // it has no copy
  BOOST_TEST(world.copy_of("b") == "");
  world.tick(10);  // and gets no new one
  BOOST_TEST(world.copy_of("a") == "");
  BOOST_TEST(world.copy_of("b") == "");
}

BOOST_AUTO_TEST_CASE(without_ha_nothing_is_done) {
  Config config = pool_of(2, {guest("a"), guest("b")});
  config.ha.enabled = false;
  World world(config);
  world.run("a", "h1");
  world.tick(60);
  BOOST_TEST(world.log.empty());
}

BOOST_AUTO_TEST_CASE(no_sequence_of_failures_makes_a_guest_run_twice) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    const auto draw = [&random](unsigned n) { return static_cast<int>(random() % n); };
    const int hosts = 2 + draw(2);
    World world(pool_of(hosts, {guest("a"), guest("b"), guest("c", Protection::kRestart)}));
    const auto some_host = [&] {
      return "h" + std::to_string(1 + draw(static_cast<unsigned>(hosts)));
    };
    for (int i = 0; i < 300; ++i) {
      const std::string one = some_host(), other = some_host();
      switch (draw(30)) {
        case 0:
          if (world.on(one)) world.cut_power(one);
          break;
        case 1:
        case 2:
          if (!world.on(one)) world.power_on(one);
          break;
        case 3:
          if (world.on(one)) world.start_agent(one);
          break;
        case 4:
          world.cut.insert({one, other});
          break;
        case 5:
          world.cut.clear();
          break;
        case 6:
          world.hosts_that_start_nothing = {one};
          break;
        case 7:
          world.hosts_that_start_nothing.clear();
          break;
        case 8:
          world.stop("c");
          break;
      }
      world.tick();
      for (const char* name : {"a", "b", "c"})
        BOOST_REQUIRE_MESSAGE(world.running_on(name).size() <= 1,
                              name << " runs twice: seed " << seed << ", second " << i);
    }
    // And when all is well again, all is as it should be.
    world.cut.clear();
    world.hosts_that_start_nothing.clear();
    for (int i = 1; i <= hosts; ++i)
      if (!world.on("h" + std::to_string(i))) world.power_on("h" + std::to_string(i));
    world.tick(700);
    for (const char* name : {"a", "b", "c"}) BOOST_TEST(!world.where(name).empty());
    for (const char* name : {"a", "b"}) BOOST_TEST(!world.copy_of(name).empty());
  }
}

BOOST_AUTO_TEST_CASE(a_report_that_makes_no_sense_is_refused) {
  BOOST_CHECK_THROW(to_report(nlohmann::json::parse("{\"host\":3}")), Error);
  BOOST_CHECK_THROW(to_report(nlohmann::json::array()), Error);
}

namespace {
Config fenced(int hosts, std::vector<Vm> guests) {
  Config config = pool_of(hosts, std::move(guests));
  config.ha.arbiter = "etcd:somewhere";
  config.ha.fencing = Fencing::kWatchdog;
  return config;
}
Vm restarted(const std::string& name) { return guest(name, Protection::kRestart); }
}  // namespace

BOOST_AUTO_TEST_CASE(
    a_dead_host_s_guests_are_restarted_elsewhere_when_its_watchdog_has_ended_them) {
  for (const char* dead : {"h1", "h2"}) {  // the coordinator, and another
    World world(fenced(3, {restarted("a")}));
    world.run("a", dead);
    world.tick(10);
    world.cut_power(dead);
    world.tick(15);
    BOOST_TEST(world.where("a") == "");
    world.tick(30);
    BOOST_TEST(world.where("a") != "");
    // Nothing more happens when it is back.
    const std::string now_on = world.where("a");
    world.power_on(dead);
    world.tick(60);
    BOOST_TEST(world.where("a") == now_on);
    BOOST_TEST(world.resets == 0);
  }
}

BOOST_AUTO_TEST_CASE(without_a_watchdog_or_a_record_a_silent_host_is_waited_for) {
  World world(fenced(3, {restarted("a")}));
  world.run("a", "h2");
  world.tick(10);
  world.end_agent("h2");
  world.hang("h2");
  world.tick(600);
  BOOST_TEST(world.resets == 0);
  BOOST_TEST(contains(world.waiting("h1", "a"), "h2, which had it, does not answer"));
  Config config = fenced(3, {restarted("a")});
  config.ha.fencing = Fencing::kNone;
  World without(config);
  without.run("a", "h2");
  without.tick(10);
  without.cut_power("h2");
  without.tick(600);
  BOOST_TEST(without.where("a") == "");
}

BOOST_AUTO_TEST_CASE(a_host_that_hangs_or_is_alone_runs_its_guest_no_more_when_another_does) {
  World hung(fenced(3, {restarted("a")}));
  hung.run("a", "h2");
  hung.tick(10);
  hung.hang("h2");
  hung.tick(60);
  BOOST_TEST(hung.resets == 1);
  BOOST_TEST(hung.where("a") != "");

  World alone(fenced(3, {restarted("a"), guest("b")}));
  alone.run("a", "h2");
  alone.run("b", "h2");
  alone.tick(10);
  alone.isolate("h2", true);
  alone.reach_store("h2", false);
  alone.tick(60);
  BOOST_TEST(alone.resets == 0);  // it gave the guest up in time
  BOOST_TEST((alone.where("a") == "h1" || alone.where("a") == "h3"));
  alone.isolate("h2", false);
  alone.reach_store("h2", true);
  alone.tick(60);
  BOOST_TEST((alone.where("a") == "h1" || alone.where("a") == "h3"));
}

BOOST_AUTO_TEST_CASE(guests_outlive_the_third_party_and_a_cut_network_but_not_both) {
  World world(fenced(3, {restarted("a")}));
  world.run("a", "h2");
  world.tick(10);
  for (const char* name : {"h1", "h2", "h3"}) world.reach_store(name, false);
  world.tick(120);
  BOOST_TEST(world.where("a") == "h2");
  for (const char* name : {"h1", "h2", "h3"}) world.reach_store(name, true);
  world.isolate("h2", true);
  world.tick(120);
  BOOST_TEST(world.where("a") == "h2");
  BOOST_TEST(count(world.log, Kind::kGiveUp) == 0u);
  world.reach_store("h2", false);
  world.tick(60);
  BOOST_TEST((world.where("a") == "h1" || world.where("a") == "h3"));
}

BOOST_AUTO_TEST_CASE(
    a_host_that_was_declared_dead_and_lives_on_is_not_dead_at_once_when_it_is_silent) {
  Vm vm = restarted("a");
  vm.preferred_host = "h2";
  World world(fenced(3, {vm}));
  world.run("a", "h2");
  world.tick(10);
  world.reach_store("h2", false);
  world.isolate("h2", true);
  world.tick(60);
  BOOST_TEST(world.where("a") != "h2");
  // All hear of it again, and the store still has it dead.
  world.isolate("h2", false);
  world.stop("a");
  world.tick(30);
  BOOST_TEST(world.where("a") == "h2");
  world.isolate("h2", true);
  world.tick(6);  // it has not given up yet
  world.hang("h2");
  world.tick(60);
  BOOST_TEST(world.where("a") != "h2");
}

BOOST_AUTO_TEST_CASE(a_host_that_finds_itself_declared_dead_first_gives_its_guests_up) {
  World world(fenced(3, {restarted("a")}));
  world.run("a", "h2");
  world.tick(10);
  world.records()["host-h2-10"].holder = "h1";
  world.tick(4);
  BOOST_TEST(count(world.log, Kind::kGiveUp) == 1u);
  BOOST_TEST(world.where("a") == "");
  world.tick(4);
  BOOST_TEST(world.records()["host-h2-10"].holder == "h2");
  world.tick(60);
  BOOST_TEST(world.where("a") != "");
}

BOOST_AUTO_TEST_CASE(a_third_party_that_was_never_reached_costs_no_guest) {
  World world(fenced(3, {restarted("a")}), /*reaches_store=*/false);
  world.run("a", "h2");
  world.cut_power("h3");  // so that not all hear of h2
  world.tick(60);
  world.start_agent("h2");
  world.tick(60);
  BOOST_TEST(world.where("a") == "h2");
  BOOST_TEST(count(world.log, Kind::kGiveUp) == 0u);
  // It counts as soon as it was reached, and is not forgotten by agents that are started anew.
  world.reach_store("h2", true);
  world.tick(4);
  world.reach_store("h2", false);
  for (int i = 0; i < 6; ++i) {
    world.start_agent("h2");
    world.tick(2);
  }
  BOOST_TEST(world.where("a") == "");
  BOOST_TEST(world.resets == 0);
}

BOOST_AUTO_TEST_CASE(an_agent_that_never_gets_far_does_not_put_off_its_host_s_end) {
  World world(fenced(3, {restarted("a")}));
  world.run("a", "h2");
  world.tick(10);
  world.reach_store("h2", false);
  world.isolate("h2", true);
  for (int i = 0; i < 25; ++i) {
    world.start_agent("h2");
    world.hang("h2", true);  // before it has done anything
    world.tick();
    world.hang("h2", false);
  }
  BOOST_TEST(world.resets == 1);
  BOOST_TEST(world.where("a") != "h2");
}

BOOST_AUTO_TEST_CASE(whatever_is_cut_and_hangs_no_restarted_guest_runs_twice) {
  std::size_t given_up = 0, restarts = 0;
  int resets = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      const auto chance = [&](unsigned of) { return random() % of == 0; };
      World world(fenced(3, {restarted("a"), restarted("b"), restarted("c")}));
      std::map<std::string, bool> isolated, reaches;
      for (int second = 0; second < 1500; ++second) {
        for (const std::string name : {"h1", "h2", "h3"}) {
          if (chance(150)) {
            world.on(name) ? world.cut_power(name) : world.power_on(name);
            world.hang(name, false);
          }
          if (world.on(name) && chance(300)) world.hang(name);
          if (world.on(name) && chance(100)) world.hang(name, false);
          if (chance(100)) world.isolate(name, isolated[name] ^= true);
          if (chance(60)) world.reach_store(name, reaches[name] ^= true);
          if (world.on(name) && chance(400)) world.start_agent(name);
          if (world.on(name) && chance(400) && world.end_agent(name)) world.start_agent(name);
        }
        world.tick();
      }
      given_up += count(world.log, Kind::kGiveUp);
      restarts += count(world.log, Kind::kStart);
      resets += world.resets;
      for (const std::string name : {"h1", "h2", "h3"}) {
        if (!world.on(name)) world.power_on(name);
        world.hang(name, false);
        world.isolate(name, false);
        world.reach_store(name, true);
      }
      world.tick(120);
      for (const char* name : {"a", "b", "c"}) BOOST_TEST(world.where(name) != "");
    }
  }
  BOOST_TEST(given_up > 100u);
  BOOST_TEST(restarts > 500u);
  BOOST_TEST(resets > 20);
}

BOOST_AUTO_TEST_SUITE_END()
