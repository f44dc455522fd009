#include <boost/test/unit_test.hpp>

#include "libspecrep/pool/plan.h"

namespace {

using namespace specrep::pool;

// Hosts xen1, xen2, ... with so much memory each.
Config hosts(const std::vector<std::uint64_t>& memory_mib) {
  Config config;
  for (const std::uint64_t mib : memory_mib) {
    Host host;
    host.name = "xen" + std::to_string(config.hosts.size() + 1);
    host.memory_mib = mib;
    config.hosts.push_back(host);
  }
  config.ha.host_failures_to_tolerate = 1;
  return config;
}

Vm& add(Config& config, const std::string& name, std::uint64_t memory_mib, Protection protection) {
  Vm vm;
  vm.name = name;
  vm.memory_mib = memory_mib;
  vm.protection = protection;
  vm.ha_always_run = protection != Protection::kNone;
  config.vms.push_back(vm);
  return config.vms.back();
}

HostNames all(const Config& config) {
  HostNames names;
  for (const Host& host : config.hosts) names.insert(host.name);
  return names;
}

Assignment start(const Config& config) {
  return assign(config, all(config), {}, missing_guests(config, {}));
}

// "web xen1 xen2, batch xen2"
std::string text(const Placements& placements) {
  std::string text;
  for (const auto& [name, at] : placements)
    text += (text.empty() ? "" : ", ") + name + " " + at.host +
            (at.backup.empty() ? "" : " " + at.backup);
  return text;
}

std::string text(const std::vector<Consequence>& consequences) {
  std::string text;
  for (const Consequence& it : consequences)
    text += (text.empty() ? "" : ", ") + it.vm + " " + to_string(it.fate) +
            (it.after.host.empty() ? "" : " " + it.after.host) +
            (it.after.backup.empty() ? "" : " " + it.after.backup);
  return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pool_plan)

BOOST_AUTO_TEST_CASE(guests_spread_over_the_hosts_and_copies_are_elsewhere) {
  Config config = hosts({4096, 4096});
  for (const char* name : {"a", "b", "c", "d"}) add(config, name, 1024, Protection::kReplicate);
  const Assignment assignment = start(config);
  BOOST_TEST(text(assignment.placements) == "a xen1 xen2, b xen2 xen1, c xen1 xen2, d xen2 xen1");
  BOOST_TEST(assignment.no_host.empty());
  BOOST_TEST(assignment.no_backup.empty());
}

BOOST_AUTO_TEST_CASE(preferred_and_backup_hosts_are_respected_in_their_order) {
  Config config = hosts({4096, 4096, 8192});
  Vm& web = add(config, "web", 1024, Protection::kReplicate);
  web.preferred_host = "xen2";
  web.backup_hosts = {"xen1", "xen3"};
  BOOST_TEST(text(start(config).placements) == "web xen2 xen1");
  // Without the preferred host.
  BOOST_TEST(text(assign(config, {"xen1", "xen3"}, {}, {{"web", ""}}).placements) ==
             "web xen1 xen3");
  // A host that is not among them never gets it.
  web.backup_hosts = {"xen1"};
  const Assignment assignment = assign(config, {"xen2", "xen3"}, {}, {{"web", ""}});
  BOOST_TEST(text(assignment.placements) == "web xen2");
  BOOST_TEST(assignment.no_backup.size() == 1u);
}

BOOST_AUTO_TEST_CASE(what_runs_is_not_moved_and_gets_its_copy) {
  Config config = hosts({4096, 4096});
  add(config, "web", 1024, Protection::kReplicate).preferred_host = "xen1";
  const Placements now = {{"web", {"xen2", ""}}, {"stranger", {"xen1", ""}}};
  BOOST_TEST(text(assign(config, all(config), now, missing_guests(config, now)).placements) ==
             "stranger xen1, web xen2 xen1");
}

BOOST_AUTO_TEST_CASE(a_guest_starts_where_its_disks_are_or_not_at_all) {
  Config config = hosts({4096, 4096});
  add(config, "web", 1024, Protection::kReplicate).preferred_host = "xen1";
  BOOST_TEST(text(assign(config, all(config), {}, {{"web", "xen2"}}).placements) ==
             "web xen2 xen1");
  const Assignment without = assign(config, {"xen1"}, {}, {{"web", "xen2"}});
  BOOST_TEST(without.placements.empty());
  BOOST_TEST(without.no_host.size() == 1u);
}

BOOST_AUTO_TEST_CASE(memory_goes_to_the_urgent_first_and_to_copies_before_best_effort) {
  Config config = hosts({2048, 2048});
  add(config, "later", 1024, Protection::kRestart).ha_restart_priority = 5;
  add(config, "spare", 1024, Protection::kRestart).ha_restart_priority.reset();
  add(config, "first", 2048, Protection::kRestart).ha_restart_priority = 0;
  add(config, "second", 1024, Protection::kRestart).ha_restart_priority = 1;
  const Assignment assignment = start(config);
  BOOST_TEST(text(assignment.placements) == "first xen1, later xen2, second xen2");
  BOOST_TEST(assignment.no_host == std::vector<std::string>{"spare"},
             boost::test_tools::per_element());

  Config pair = hosts({2048, 2048});
  add(pair, "spare", 1024, Protection::kRestart).ha_restart_priority.reset();
  add(pair, "web", 2048, Protection::kReplicate);
  BOOST_TEST(text(start(pair).placements) == "web xen1 xen2");
}

BOOST_AUTO_TEST_CASE(a_lost_host_s_guests_go_to_their_copies_or_are_restarted) {
  Config config = hosts({4096, 4096, 4096});
  add(config, "web", 1024, Protection::kReplicate);
  add(config, "batch", 1024, Protection::kRestart);
  add(config, "scratch", 512, Protection::kNone);
  const Placements now = {
      {"web", {"xen1", "xen2"}}, {"batch", {"xen1", ""}}, {"scratch", {"xen1", ""}}};
  const Outcome first = lose(config, all(config), now, {"xen1"});
  BOOST_TEST(text(first.consequences) ==
             "web goes on xen2 xen3, batch restarts xen3, scratch stays off");
  BOOST_TEST(first.memory_suffices);
  BOOST_TEST(first.memory_left_mib.at("xen3") == 2048u);
  BOOST_TEST(!first.memory_left_mib.contains("xen1"));

  const Outcome second = lose(config, all(config), now, {"xen2"});
  BOOST_TEST(text(second.consequences) == "web runs on xen1 xen3");
  BOOST_TEST(text(second.placements) == "batch xen1, scratch xen1, web xen1 xen3");

  BOOST_TEST(lose(config, all(config), now, {"xen3"}).consequences.empty());

  // No other host has the disks of a guest whose host and copy are lost.
  const Outcome both = lose(config, all(config), now, {"xen1", "xen2"});
  BOOST_TEST(text(both.consequences) == "web no copy, batch restarts xen3, scratch stays off");
}

BOOST_AUTO_TEST_CASE(a_plan_has_each_host_and_each_two_when_two_may_fail) {
  Config config = hosts({2048, 2048, 2048});
  add(config, "a", 1024, Protection::kRestart);
  add(config, "b", 1024, Protection::kRestart);
  const auto sizes = [](const Plan& plan) {
    std::string text;
    for (const Outcome& outcome : plan.outcomes) text += std::to_string(outcome.lost.size());
    return text;
  };
  const auto plan_of = [](const Config& config) {
    return plan(config, all(config), {}, missing_guests(config, {}));
  };
  BOOST_TEST(sizes(plan_of(config)) == "111");
  config.ha.host_failures_to_tolerate = 2;
  BOOST_TEST(sizes(plan_of(config)) == "111222");
  BOOST_TEST(plan_of(config).memory_suffices);
  config.ha.host_failures_to_tolerate = 0;
  BOOST_TEST(sizes(plan_of(config)) == "111");
}

BOOST_AUTO_TEST_CASE(too_little_memory_is_found_and_best_effort_does_not_count) {
  Config config = hosts({2048, 2048});
  add(config, "a", 1536, Protection::kRestart);
  add(config, "b", 1536, Protection::kRestart);
  const Plan short_of = plan(config, all(config), {}, missing_guests(config, {}));
  BOOST_TEST(!short_of.memory_suffices);
  BOOST_TEST(text(short_of.outcomes.at(0).consequences) == "a no memory");
  config.vms[0].ha_restart_priority.reset();
  config.vms[1].ha_restart_priority.reset();
  BOOST_TEST(plan(config, all(config), {}, missing_guests(config, {})).memory_suffices);
}

BOOST_AUTO_TEST_SUITE_END()
