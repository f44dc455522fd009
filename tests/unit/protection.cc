// Primary engine and replica together, in the simulated world of sim.h.

#include <malloc.h>

#include <boost/test/unit_test.hpp>
#include <random>

#include "sim.h"

namespace specrep::sim {

using namespace std::chrono_literals;
using State = replica::Replica::State;

wire::Link::Event failure_of_the_backup() {
  wire::Link::Event event;
  event.message = wire::failure(Error("no memory left"));
  return event;
}

wire::Link::Event closed_link() {
  wire::Link::Event event;
  event.closed = "reset";
  return event;
}

BOOST_AUTO_TEST_SUITE(protection)

BOOST_AUTO_TEST_CASE(first_copy_brings_every_page_that_exists) {
  World world(3000);
  world.guest.hole = 7;
  world.guest.write(0, 1);
  world.guest.write(2999, 2);
  world.run_until_committed(1);
  BOOST_TEST(world.restorer.memory.size() == 2999u);
  BOOST_TEST(!world.restorer.memory.contains(7));
  BOOST_TEST(world.restorer.memory[2999] == world.guest.page(2999));
  BOOST_TEST(world.restorer.memory[1] == world.guest.page(1));
}

#ifndef SPECREP_SANITIZED  // whose allocators do not say how much is in use
// As many as end in 24 hours at 200 ms each. t/day_of_epochs is the same on Xen.
BOOST_AUTO_TEST_CASE(a_day_of_epochs_takes_no_more_memory) {
  constexpr Epoch kBegin = 43'200, kEnd = 432'000;
  constexpr std::size_t kGrowthBytesMax = 16 << 10;
  World world;
  const auto in_use = [] {
    const struct mallinfo2 heap = mallinfo2();
    return heap.uordblks + heap.hblkhd;
  };
  std::size_t before = 0;
  for (Epoch epoch = 1; epoch <= kEnd; ++epoch) {
    world.guest.write(epoch * 7 % 64, static_cast<unsigned char>(epoch));
    world.output.send(0);
    world.run_until_committed(epoch);
    // What the tests' own parts remember.
    world.observer.reports = {};
    world.output.sent = {};
    if (epoch == kBegin) before = in_use();
  }
  const std::size_t after = in_use();
  BOOST_TEST(after <= before + kGrowthBytesMax, before << " bytes, then " << after);
}
#endif

BOOST_AUTO_TEST_CASE(the_guests_addresses_come_with_each_commit) {
  World world;
  world.run_until_committed(1);
  BOOST_TEST(world.restorer.addresses.empty());
  guest::CardAddress four{.mac = {2, 0, 0, 0, 0, 1}}, six{.mac = {2, 0, 0, 0, 0, 2}};
  four.ip = {10, 0, 0, 1};
  six.is_ipv6 = six.is_router = true;
  six.ip = {0xfd};
  six.ip[15] = 1;
  world.guest.addresses = {four, six};
  world.run_until_committed(3);
  BOOST_TEST((world.restorer.addresses == world.guest.addresses));
}

BOOST_AUTO_TEST_CASE(every_commit_has_the_memory_of_its_checkpoint) {
  World world;
  world.run_until_committed(1);
  for (Epoch epoch = 2; epoch < 20; ++epoch) {
    world.guest.write(epoch % 64, static_cast<unsigned char>(epoch));
    world.guest.write(5, static_cast<unsigned char>(epoch + 100));
    world.run_until_committed(epoch);
    for (Gfn gfn = 0; gfn < 64; ++gfn)
      BOOST_TEST(world.restorer.memory[gfn] == world.guest.page(gfn));
  }
  BOOST_TEST(world.observer.reports.back().written_pages == 2u);
}

BOOST_AUTO_TEST_CASE(a_page_cache_smaller_than_the_residual_brings_the_same_memory) {
  for (const std::uint32_t cache_pages : {0, 1, 7, 64}) {
    World world(64, {.delta_cache_pages = cache_pages, .compress = cache_pages != 1});
    world.run_until_committed(1);
    for (Epoch epoch = 2; epoch < 12; ++epoch) {
      for (Gfn gfn = epoch; gfn < epoch + 20; ++gfn)
        world.guest.write(gfn, static_cast<unsigned char>((epoch * gfn / 3) % 5));
      world.run_until_committed(epoch);
      for (Gfn gfn = 0; gfn < 64; ++gfn)
        BOOST_TEST(world.restorer.memory[gfn] == world.guest.page(gfn));
    }
  }
}

BOOST_AUTO_TEST_CASE(pages_that_stay_clean_are_sent_while_the_guest_runs) {
  World world(64, {.policy = {model::PolicyKind::kAlways}});
  world.run_until_committed(1);
  world.guest.write(9, 9);
  world.run_until_committed(2);
  const auto& report = world.observer.reports.back();
  BOOST_TEST(report.speculative_pages == 1u);
  BOOST_TEST(report.residual_pages == 0u);
  BOOST_TEST(report.wasted_pages == 0u);
  BOOST_TEST(report.written_pages == 1u);
  BOOST_TEST(world.restorer.memory[9] == world.guest.page(9));
}

BOOST_AUTO_TEST_CASE(a_page_written_after_it_was_sent_is_sent_again) {
  World world(64, {.policy = {model::PolicyKind::kAlways}});
  world.run_until_committed(1);
  world.guest.write(9, 9);
  for (int i = 0; world.guest.samples < 4; ++i) world.turn();
  world.guest.write(9, 10);
  world.run_until_committed(2);
  const auto& report = world.observer.reports.back();
  BOOST_TEST(report.speculative_pages == 2u);
  BOOST_TEST(report.wasted_pages == 1u);
  BOOST_TEST(report.written_pages == 1u);
  BOOST_TEST(world.restorer.memory[9] == world.guest.page(9));
}

BOOST_AUTO_TEST_CASE(an_epoch_that_lasts_longer_is_sampled_once_more_before_it_is_closed) {
  World world(64, {.policy = {model::PolicyKind::kAlways}});
  world.run_until_committed(1);
  world.guest.write(9, 9);
  world.clock.advance(500ms);  // past the end of the epoch, without a step
  world.primary_link.heartbeat();
  world.backup_link.heartbeat();
  world.run_until_committed(2);
  BOOST_TEST(world.observer.reports.back().samples == 1u);
  BOOST_TEST(world.observer.reports.back().speculative_pages == 1u);
  BOOST_TEST(world.observer.reports.back().residual_pages == 0u);
}

BOOST_AUTO_TEST_CASE(under_every_policy_a_commit_has_the_memory_of_its_checkpoint) {
  for (const auto policy : {model::PolicyKind::kRemus, model::PolicyKind::kAlways,
                            model::PolicyKind::kAge, model::PolicyKind::kAdaptive}) {
    for (const std::uint32_t cache_pages : {0u, 7u, 1000u}) {
      BOOST_TEST_CONTEXT(model::to_string(policy) << ", cache of " << cache_pages) {
        World world(64, {.policy = {policy}, .delta_cache_pages = cache_pages});
        std::mt19937 random(3);
        // At any time: between samples, and while a page is being copied.
        world.guest.before_copy = [&] {
          for (int i = 0; i < 3 && !world.guest.stopped; ++i)
            world.guest.write_line(random() % 64, random() % 64,
                                   static_cast<unsigned char>(random() % 4));
        };
        std::map<Epoch, std::vector<Page>> checkpoints;
        world.guest.on_stop = [&] {
          std::vector<Page> memory;
          for (Gfn gfn = 0; gfn < 64; ++gfn) memory.push_back(world.guest.page(gfn));
          checkpoints[checkpoints.size() + 1] = std::move(memory);
        };
        for (Epoch epoch = 1; epoch < 60; ++epoch) {
          world.run_until_committed(epoch);
          for (Gfn gfn = 0; gfn < 64; ++gfn)
            BOOST_REQUIRE(world.restorer.memory[gfn] == checkpoints[epoch][gfn]);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_guest_runs_again_before_its_pages_are_sent) {
  World world;
  bool sent_while_stopped = false;
  unsigned sent = 0;
  world.primary_link.on_send = [&](const wire::Message&) {
    ++sent;
    sent_while_stopped |= world.guest.stopped;
  };
  world.run_until_committed(3);
  BOOST_TEST(sent > 0u);
  BOOST_TEST(!sent_while_stopped);
}

BOOST_AUTO_TEST_CASE(output_leaves_with_the_commit_of_its_epoch_and_no_earlier) {
  World world;
  world.run_until_committed(1);
  world.output.send(2);  // in epoch 2
  while (world.output.ended < 2) {
    world.engine.step();
    world.clock.advance(10ms);
    world.primary_link.heartbeat();
  }
  world.output.send(3);
  // The backup has not answered yet, though epoch 3 may end meanwhile.
  for (int i = 0; i < 50 && world.output.ended < 3; ++i) {
    world.engine.step();
    world.clock.advance(10ms);
    world.primary_link.heartbeat();
  }
  BOOST_TEST(world.output.ended == 3u);
  BOOST_TEST(world.output.sent.empty());
  world.output.send(4);
  world.deliver();
  BOOST_TEST(world.output.released == 3u);
  BOOST_TEST(world.output.sent == (std::vector<int>{2, 3}));
}

BOOST_AUTO_TEST_CASE(what_was_sent_before_the_first_checkpoint_is_not_held_for_its_commit) {
  World world;
  world.output.send(1);
  while (world.output.ended < 1) {
    world.engine.step();
    world.clock.advance(1ms);
    world.primary_link.heartbeat();
  }
  BOOST_TEST(world.output.sent == std::vector<int>{1});
}

BOOST_AUTO_TEST_CASE(an_epoch_ends_early_when_its_output_fills_the_buffer) {
  World world(64, {.epoch = {.length = 10s}, .heartbeat_timeout = 60s});
  world.run_until_committed(1);
  const TimePoint before = world.clock.now();
  world.output.full = 0.6;
  world.run_until_committed(3);
  BOOST_TEST((world.clock.now() - before < 1s));
}

BOOST_AUTO_TEST_CASE(a_copy_may_exist_from_the_first_checkpoint_until_the_backup_says_otherwise) {
  World world;
  world.engine.step();
  BOOST_TEST(!world.engine.copy_may_exist());
  world.run_until_committed(2);
  BOOST_TEST(world.engine.copy_may_exist());
  world.engine.request_stop("enough");
  BOOST_TEST(world.engine.copy_may_exist());
  world.deliver();
  BOOST_TEST(world.engine.ended());
  BOOST_TEST(!world.engine.copy_may_exist());
}

// A World in the middle of its first copy.
struct Copying : World {
  Copying() : World(3000) {
    engine.step();
    engine.step();
  }
};

BOOST_AUTO_TEST_CASE(a_backup_that_is_lost_in_the_first_copy_leaves_no_copy_behind) {
  {
    Copying world;
    world.clock.advance(1001ms);
    BOOST_CHECK_THROW(world.engine.step(), epoch::BackupLost);
    BOOST_TEST(!world.engine.copy_may_exist());
  }
  for (const auto& event : {closed_link(), failure_of_the_backup()}) {
    Copying world;
    BOOST_CHECK_THROW(world.engine.handle(event), Error);
    BOOST_TEST(!world.engine.copy_may_exist());
    BOOST_TEST(!world.guest.stopped);
  }
}

BOOST_AUTO_TEST_CASE(a_first_copy_that_is_stopped_or_loses_its_guest_ends_in_order) {
  for (const bool guest_ends : {false, true}) {
    Copying world;
    if (guest_ends) {
      world.guest.ended = true;
      for (int i = 0; i < 50 && !world.engine.guest_ended(); ++i) world.engine.step();
      BOOST_TEST(world.engine.guest_ended().has_value());
    } else {
      world.engine.request_stop("enough");
    }
    world.deliver();
    BOOST_TEST(world.engine.ended());
    BOOST_TEST(!world.engine.copy_may_exist());
    BOOST_TEST((world.replica.state() == State::kDiscard));
    BOOST_TEST(world.output.ended == 0u);
  }
}

BOOST_AUTO_TEST_CASE(a_backup_that_fails_in_epochs_may_have_a_copy_all_the_same) {
  World world;
  world.run_until_committed(2);
  world.output.send(3);
  BOOST_CHECK_THROW(world.engine.handle(failure_of_the_backup()), Error);
  BOOST_TEST(world.engine.copy_may_exist());
  BOOST_TEST(!world.guest.stopped);
  BOOST_TEST(world.output.sent.empty());
}

BOOST_AUTO_TEST_CASE(while_it_stops_output_still_leaves_with_its_commit) {
  World world;
  world.run_until_committed(1);
  world.output.send(2);
  while (world.output.ended < 2) {
    world.engine.step();
    world.clock.advance(10ms);
    world.primary_link.heartbeat();
  }
  world.output.send(3);
  world.engine.request_stop("enough");
  BOOST_TEST(world.output.sent.empty());
  world.deliver();
  BOOST_TEST(world.output.sent == std::vector<int>{2});
  BOOST_TEST(world.engine.ended());
}

BOOST_AUTO_TEST_CASE(a_stop_that_is_not_confirmed_leaves_open_whether_there_is_a_copy) {
  const auto stopping = [](World& world) {
    world.run_until_committed(2);
    world.engine.request_stop("enough");
    BOOST_TEST(!world.engine.ended());
  };
  {
    World world;
    stopping(world);
    world.clock.advance(4999ms);
    world.engine.step();
    BOOST_TEST(!world.engine.ended());
    world.clock.advance(1ms);
    world.engine.step();
    BOOST_TEST(world.engine.ended());
    BOOST_TEST(world.engine.copy_may_exist());
  }
  {
    World world;
    stopping(world);
    world.engine.handle(closed_link());
    BOOST_TEST(world.engine.ended());
    BOOST_TEST(world.engine.copy_may_exist());
  }
  {
    World world;
    stopping(world);
    BOOST_CHECK_THROW(world.engine.handle(failure_of_the_backup()), Error);
    BOOST_TEST(world.engine.copy_may_exist());
  }
}

BOOST_AUTO_TEST_CASE(without_commits_no_more_epochs_are_started_than_may_be_in_flight) {
  World world;
  world.run_until_committed(1);
  for (int i = 0; i < 50; ++i) {  // the backup receives nothing any more
    world.primary_link.heartbeat();
    world.clock.advance(100ms);
    world.engine.step();
  }
  const auto started = world.observer.reports.back().epoch;
  BOOST_TEST(started == 1 + epoch::PrimaryEngine::kEpochsInFlightMax);
  BOOST_TEST(!world.guest.stopped);
}

BOOST_AUTO_TEST_CASE(a_silent_backup_ends_protection_with_the_guest_running) {
  World world;
  world.run_until_committed(1);
  world.clock.advance(1001ms);
  BOOST_CHECK_THROW(world.engine.step(), epoch::BackupLost);
  BOOST_TEST(!world.guest.stopped);
}

BOOST_AUTO_TEST_CASE(a_guest_that_does_not_suspend_ends_protection_and_runs_on) {
  World world;
  world.guest.refuse_to_stop = true;
  BOOST_CHECK_THROW(world.run_until_committed(1), Error);
  BOOST_TEST(!world.guest.stopped);
}

BOOST_AUTO_TEST_CASE(a_failure_while_the_guest_is_stopped_lets_it_run_again) {
  World world;
  world.run_until_committed(2);
  world.guest.fail_capture = true;
  BOOST_CHECK_THROW(world.run_until_committed(3), Error);
  BOOST_TEST(!world.guest.stopped);
}

BOOST_AUTO_TEST_CASE(destroying_the_engine_turns_the_dirty_log_off) {
  ManualClock clock;
  Guest guest(clock, 8);
  Link link(clock);
  Observer observer;
  {
    output::NoBuffer output;
    disk::NoDisks disks;
    epoch::PrimaryEngine engine(guest, link, output, disks, clock,
                                World::with_name(epoch::PrimaryOptions{}), observer);
    engine.step();
    BOOST_TEST(guest.logging);
  }
  BOOST_TEST(!guest.logging);
}

BOOST_AUTO_TEST_CASE(a_guest_that_ends_makes_the_backup_discard) {
  World world;
  world.run_until_committed(2);
  world.guest.ended = true;
  for (int i = 0; i < 20 && !world.engine.ended(); ++i) world.turn();
  BOOST_TEST(world.engine.ended());
  BOOST_TEST(world.engine.guest_ended().has_value());
  BOOST_TEST((world.replica.state() == State::kDiscard));
}

BOOST_AUTO_TEST_CASE(an_orderly_stop_makes_the_backup_discard) {
  World world;
  world.run_until_committed(2);
  world.engine.request_stop("the operator said so");
  world.deliver();
  BOOST_TEST(world.engine.ended());
  BOOST_TEST((world.replica.state() == State::kDiscard));
  BOOST_TEST(!world.guest.logging);
}

BOOST_AUTO_TEST_CASE(verify_compares_everything_and_finds_nothing) {
  World world(64, {.verify_every = 2});
  world.guest.special = {3};
  world.run_until_committed(1);
  for (Epoch epoch = 2; epoch < 8; ++epoch) {
    world.guest.write(epoch, 1);
    world.run_until_committed(epoch);
  }
  world.deliver();
  BOOST_TEST(world.observer.verified.size() == 3u);
  for (const auto& result : world.observer.verified) {
    BOOST_TEST(result.pages_compared() == 63u);
    BOOST_TEST(result.pages_different() == 0u);
  }
  BOOST_TEST(world.observer.left_out == 1u);
}

BOOST_AUTO_TEST_CASE(verify_finds_a_page_that_differs_on_the_backup) {
  World world(64, {.verify_every = 4});
  world.run_until_committed(3);
  world.restorer.memory[21][100] = std::byte{0xff};
  world.run_until_committed(4);
  world.deliver();
  BOOST_REQUIRE(world.observer.verified.size() == 1u);
  BOOST_TEST(world.observer.verified[0].pages_different() == 1u);
  BOOST_TEST(world.observer.verified[0].first_different_gfns(0) == 21u);
}

BOOST_AUTO_TEST_CASE(a_commit_that_is_not_due_is_refused) {
  World world;
  world.run_until_committed(2);
  wire::Message commit;
  commit.envelope.mutable_commit()->set_epoch(9);
  wire::Link::Event event;
  event.message = commit;
  BOOST_CHECK_THROW(world.engine.handle(event), wire::ProtocolError);
}

BOOST_AUTO_TEST_CASE(a_comparison_that_was_not_asked_for_is_refused) {
  World world(64, {.verify_every = 2});
  world.run_until_committed(3);
  world.deliver();
  BOOST_TEST(world.observer.verified.size() == 1u);
  wire::Link::Event event;
  event.message.emplace();
  for (const Epoch epoch : {2, 3, 9}) {
    event.message->envelope.mutable_verified()->set_epoch(epoch);
    BOOST_CHECK_THROW(world.engine.handle(event), wire::ProtocolError);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(protection_with_disks)

BOOST_AUTO_TEST_CASE(no_epoch_ends_before_the_disks_are_copied) {
  World world;
  world.disks.marks = {0};
  world.copies.held = {0};
  world.disks.missing = 5;
  for (int i = 0; i < 50; ++i) world.turn();
  BOOST_TEST(world.output.ended == 0u);
  BOOST_REQUIRE(!world.observer.missing.empty());
  BOOST_TEST(world.observer.missing.back() == 5u);
  world.disks.missing = 0;
  world.run_until_committed(2);
}

BOOST_AUTO_TEST_CASE(an_epoch_is_committed_when_its_disk_writes_are_there_and_no_earlier) {
  World world;
  world.disks.marks = {7, 9};
  world.copies.held = {7, 9};
  world.run_until_committed(2);
  BOOST_TEST((world.copies.committed == std::vector<std::uint64_t>{7, 9}));
  BOOST_TEST(world.disks.released == world.output.released);
  world.disks.marks = {7, 12};
  world.guest.write(3, 33);
  const Epoch before = world.observer.committed;
  for (int i = 0; i < 300; ++i) world.turn();
  // The epoch that was open may have had the old marks.
  BOOST_TEST(world.observer.committed <= before + 1);
  BOOST_TEST(world.output.ended > world.output.released);
  const Epoch held_back = world.observer.committed;
  BOOST_TEST(world.replica.committed() == held_back);
  world.copies.held = {7, 12};
  world.replica.step();
  world.deliver();
  BOOST_TEST(world.observer.committed > held_back);
  BOOST_TEST((world.copies.committed == std::vector<std::uint64_t>{7, 12}));
  BOOST_TEST(std::to_integer<int>(world.restorer.memory.at(3)[0]) == 33);
}

BOOST_AUTO_TEST_CASE(an_epoch_whose_disk_writes_are_missing_is_not_activated) {
  World world;
  world.disks.marks = {1};
  world.copies.held = {1};
  world.guest.write(3, 1);
  world.run_until_committed(2);
  world.disks.marks = {2};
  const Epoch before = world.observer.committed;
  world.guest.write(3, 2);
  for (int i = 0; i < 100; ++i) world.turn();
  world.clock.advance(10s);
  world.replica.step();
  BOOST_TEST((world.replica.state() == replica::Replica::State::kActivate));
  BOOST_TEST(world.replica.committed() <= before + 1);
  // Too late for these.
  world.copies.held = {2};
  world.replica.step();
  BOOST_TEST((world.copies.committed == std::vector<std::uint64_t>{1}));
}

BOOST_AUTO_TEST_CASE(digests_wait_for_the_epoch_that_they_are_of) {
  epoch::PrimaryOptions options;
  options.verify_every = 1;
  World world(64, options);
  world.disks.marks = {1};
  for (int i = 0; i < 30; ++i) world.turn();
  BOOST_TEST(world.observer.committed == 0u);
  BOOST_TEST(world.observer.verified.empty());
  world.copies.held = {1};
  world.replica.step();
  world.run_until_committed(3);
  BOOST_REQUIRE(!world.observer.verified.empty());
  for (const auto& verified : world.observer.verified) BOOST_TEST(verified.pages_different() == 0u);
}

BOOST_AUTO_TEST_CASE(an_epoch_ends_early_when_the_disks_write_much) {
  epoch::PrimaryOptions options;
  options.epoch.length = 10s;
  World world(64, options);
  world.run_until_committed(1);
  world.disks.full = 0.6;
  const TimePoint begun = world.clock.now();
  world.run_until_committed(2);
  BOOST_TEST((world.clock.now() - begun < 1s));
}

BOOST_AUTO_TEST_CASE(a_disk_that_is_not_followed_any_more_ends_protection) {
  World world;
  world.disks.marks = {1};
  world.copies.held = {1};
  world.run_until_committed(2);
  world.disks.broken = true;
  BOOST_CHECK_THROW(world.run_until_committed(4), Error);
  BOOST_TEST(!world.guest.stopped);
}

BOOST_AUTO_TEST_CASE(a_copy_of_a_disk_that_cannot_be_kept_ends_protection) {
  World world;
  world.disks.marks = {1};
  world.copies.held = {1};
  world.run_until_committed(2);
  world.copies.broken = true;
  BOOST_CHECK_THROW(world.run_until_committed(4), Error);
}

BOOST_AUTO_TEST_CASE(disks_are_finished_before_the_backup_is_told_to_stop) {
  World world;
  world.run_until_committed(2);
  bool finished_first = false;
  world.primary_link.on_send = [&](const wire::Message& message) {
    if (message.envelope.has_stop()) finished_first = world.disks.finished;
  };
  world.engine.request_stop("enough");
  BOOST_TEST(finished_first);
}

BOOST_AUTO_TEST_CASE(a_checkpoint_that_names_other_disks_is_refused) {
  World world;
  world.disks.marks = {1};
  world.copies.held = {1};
  world.primary_link.on_send = [&](const wire::Message& message) {
    if (message.envelope.has_checkpoint()) world.disks.marks = {1, 2};
  };
  BOOST_CHECK_THROW(world.run_until_committed(4), wire::ProtocolError);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(switchover)

// A protected guest that is to be handed over.
struct HandingOver : World {
  explicit HandingOver(epoch::PrimaryOptions options = {}) : World(64, able(options)) {
    run_until_committed(2);
  }
  static epoch::PrimaryOptions able(epoch::PrimaryOptions options) {
    options.can_hand_over = true;
    return options;
  }
  // Until the guest stands still and its last checkpoint is on its way.
  void stop_guest() {
    engine.request_hand_over();
    while (!guest.stopped) {
      clock.advance_to(engine.step());
      primary_link.heartbeat();
      backup_link.heartbeat();
    }
  }
  void hand_over() {
    stop_guest();
    deliver();
    BOOST_REQUIRE(replica.handed_over());
    BOOST_TEST(!engine.ended());
  }
  void answer(wire::Outcome::Kind kind) {
    wire::Message message;
    message.envelope.mutable_outcome()->set_kind(kind);
    backup_link.send(std::move(message));
    deliver();
  }
};

BOOST_AUTO_TEST_CASE(a_guest_that_is_handed_over_does_not_run_again_and_all_that_it_sent_is_out) {
  HandingOver world;
  world.guest.write(5, 1);
  world.output.send(1);
  world.run_until_committed(4);
  world.guest.on_stop = [&] {
    world.guest.write(6, 2);
    world.output.send(2);
  };
  // On its way through dom0 when its epoch ended.
  world.primary_link.on_send = [&](const wire::Message& message) {
    if (message.envelope.has_checkpoint()) world.output.send(3);
    if (message.envelope.has_hand_over())
      BOOST_TEST(world.output.sent == (std::vector<int>{1, 2, 3}));
  };
  world.hand_over();
  BOOST_TEST((world.replica.state() == State::kActivate));
  BOOST_TEST(world.output.sent == (std::vector<int>{1, 2, 3}));
  for (Gfn gfn = 0; gfn < 64; ++gfn)
    BOOST_TEST(world.restorer.memory[gfn] == world.guest.page(gfn));
  BOOST_TEST(world.observer.stood_still.has_value());
  BOOST_TEST(!world.engine.handed_over());
  world.answer(wire::Outcome::ACTIVATED);
  BOOST_TEST(world.engine.ended());
  BOOST_TEST(world.engine.handed_over());
  BOOST_TEST(world.engine.copy_may_exist());
  BOOST_TEST(world.guest.stopped);
}

BOOST_AUTO_TEST_CASE(the_backup_is_told_to_take_over_when_it_has_all_writes_of_the_disks) {
  HandingOver world;
  world.disks.marks = {7};
  world.stop_guest();
  world.deliver();
  BOOST_TEST(!world.replica.handed_over());
  BOOST_TEST(world.guest.stopped);
  world.copies.held = {7};
  world.replica.step();
  world.deliver();
  BOOST_TEST(world.replica.handed_over());
  BOOST_TEST((world.copies.committed == std::vector<std::uint64_t>{7}));
}

BOOST_AUTO_TEST_CASE(a_guest_whose_last_commit_does_not_come_runs_on_protected) {
  HandingOver world;
  world.stop_guest();
  for (int i = 0; i < 5; ++i) {
    BOOST_TEST(world.guest.stopped);
    world.clock.advance(999ms);
    world.primary_link.heartbeat();
    world.backup_link.heartbeat();
    world.engine.step();
  }
  BOOST_TEST(world.guest.stopped);
  world.clock.advance(5ms);
  world.engine.step();
  BOOST_TEST(!world.guest.stopped);
  BOOST_TEST(world.observer.refusals.size() == 1u);
  // The commit comes after all, and does not hand it over.
  world.output.send(3);
  world.deliver();
  BOOST_TEST(!world.replica.handed_over());
  BOOST_TEST(world.output.sent.empty());
  world.run_until_committed(world.observer.committed + 1);
  BOOST_TEST(world.output.sent == std::vector<int>{3});
  world.hand_over();
}

BOOST_AUTO_TEST_CASE(a_hand_over_does_not_wait_for_a_backup_that_does_not_commit) {
  HandingOver world;
  // An epoch that is in flight when the guest is to be handed over.
  const auto step = [&] {
    world.clock.advance_to(world.engine.step());
    world.primary_link.heartbeat();
  };
  const auto checkpoints = world.observer.reports.size();
  while (world.observer.reports.size() == checkpoints) step();
  world.engine.request_hand_over();
  BOOST_TEST(world.engine.is_handing_over());
  const TimePoint asked = world.clock.now();
  while (world.engine.is_handing_over() && world.clock.now() < asked + 10s) step();
  BOOST_TEST(milliseconds(world.clock.now() - asked) == 5000);
  BOOST_TEST(world.observer.refusals.size() == 1u);
  BOOST_TEST(world.observer.reports.size() == checkpoints + 1);
  BOOST_TEST(!world.guest.stopped);
  // It comes to itself.
  world.run_until_committed(world.observer.committed + 2);
  world.hand_over();
}

BOOST_AUTO_TEST_CASE(
    a_backup_that_is_lost_before_or_after_it_is_told_leaves_the_guest_running_and_held) {
  const std::vector<std::pair<const char*, std::function<void(HandingOver&)>>> losses = {
      {"closed", [](HandingOver& world) { world.engine.handle(closed_link()); }},
      {"failure", [](HandingOver& world) { world.engine.handle(failure_of_the_backup()); }},
      {"silence",
       [](HandingOver& world) {
         world.clock.advance(1001ms);
         world.engine.step();
       }},
  };
  for (const bool told : {false, true}) {
    for (const auto& [name, lose] : losses) {
      BOOST_TEST_CONTEXT(name << (told ? ", told" : ", not told")) {
        HandingOver world;
        if (told)
          world.hand_over();
        else
          world.stop_guest();
        BOOST_CHECK_THROW(lose(world), Error);
        BOOST_TEST(!world.guest.stopped);
        BOOST_TEST(world.engine.copy_may_exist());
        world.output.send(9);
        world.deliver();
        BOOST_TEST(world.output.sent.empty());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_backup_that_does_not_say_that_it_takes_over_counts_as_lost_after_20_s) {
  HandingOver world;
  world.hand_over();
  const auto wait = [&](Duration duration) {
    world.clock.advance(duration);
    world.primary_link.heartbeat();
    world.engine.step();
  };
  for (int s = 0; s < 19; ++s) wait(1s);
  wait(999ms);
  BOOST_TEST(world.guest.stopped);
  BOOST_CHECK_THROW(wait(1ms), epoch::BackupLost);
  BOOST_TEST(!world.guest.stopped);
  BOOST_TEST(world.engine.copy_may_exist());
}

BOOST_AUTO_TEST_CASE(a_backup_that_does_not_take_over_leaves_the_guest_running_and_no_copy) {
  HandingOver world;
  world.hand_over();
  BOOST_CHECK_THROW(world.answer(wire::Outcome::DISCARDED), Error);
  BOOST_TEST(!world.guest.stopped);
  BOOST_TEST(!world.engine.copy_may_exist());
  BOOST_TEST(!world.engine.handed_over());
}

BOOST_AUTO_TEST_CASE(a_last_checkpoint_that_fails_leaves_the_guest_running) {
  HandingOver world;
  world.guest.fail_capture = true;
  BOOST_CHECK_THROW(world.hand_over(), Error);
  BOOST_TEST(!world.guest.stopped);
}

BOOST_AUTO_TEST_CASE(a_stop_goes_before_a_hand_over_until_the_backup_is_told) {
  {
    HandingOver world;
    world.engine.request_hand_over();
    world.engine.request_stop("enough");
    BOOST_TEST(!world.engine.is_handing_over());
    world.deliver();
    BOOST_TEST(world.engine.ended());
    BOOST_TEST(!world.engine.handed_over());
  }
  {
    HandingOver world;
    world.stop_guest();
    world.engine.request_stop("enough");
    BOOST_TEST(!world.guest.stopped);
    BOOST_TEST(!world.engine.is_handing_over());
    world.deliver();
    BOOST_TEST(world.engine.ended());
    BOOST_TEST((world.replica.state() == State::kDiscard));
  }
  {
    HandingOver world;
    world.hand_over();
    world.engine.request_stop("too late");
    BOOST_TEST(world.guest.stopped);
    world.answer(wire::Outcome::ACTIVATED);
    BOOST_TEST(world.engine.handed_over());
  }
}

BOOST_AUTO_TEST_CASE(a_hand_over_that_cannot_be_is_refused_and_protection_goes_on) {
  World old;
  old.run_until_committed(2);
  old.engine.request_hand_over();
  old.run_until_committed(4);
  BOOST_TEST(old.observer.refusals.size() == 1u);
  BOOST_TEST(!old.guest.stopped);

  World early(64, HandingOver::able({}));
  early.engine.request_hand_over();
  early.engine.step();
  early.engine.request_hand_over();
  early.run_until_committed(3);
  BOOST_TEST(early.observer.refusals.size() == 2u);
}

BOOST_AUTO_TEST_CASE(an_answer_that_nobody_asked_for_breaks_the_protocol) {
  HandingOver world;
  BOOST_CHECK_THROW(world.answer(wire::Outcome::ACTIVATED), wire::ProtocolError);
  HandingOver other;
  other.hand_over();
  BOOST_CHECK_THROW(other.answer(wire::Outcome::UNSPECIFIED), wire::ProtocolError);
  BOOST_TEST(!other.guest.stopped);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(replica_alone)

// A replica that is fed by hand.
struct Fed {
  static constexpr std::uint32_t kCachePages = 8;

  explicit Fed(replica::ReplicaOptions options = {.guest_name = "g"})
      : replica(link, restorer, copies, clock, options) {
    Link::join(link, primary);
  }

  void take(wire::Message message) {
    wire::Link::Event event;
    event.message = std::move(message);
    link.heartbeat();
    replica.handle(std::move(event));
  }
  void start(Gfn gfn_count = 16, const std::string& name = "g", const std::string& uuid = "") {
    wire::Message message;
    message.envelope.mutable_start()->set_cache_pages(kCachePages);
    message.envelope.mutable_start()->set_guest_name(name);
    message.envelope.mutable_start()->set_guest_uuid(uuid);
    message.envelope.mutable_start()->set_gfn_count(gfn_count);
    message.payload = {std::byte{'P'}};
    take(std::move(message));
  }
  void page(Epoch epoch, Gfn gfn, unsigned char value) {
    const Page data(kPageBytes, std::byte{value});
    take((epoch == 0 ? first_copy_encoder : encoder).encode(epoch, {&gfn, 1}, data.data()));
  }
  void checkpoint(Epoch epoch, std::uint64_t pages, std::size_t state_bytes = 3,
                  wire::Message message = {}) {
    auto& header = *message.envelope.mutable_checkpoint();
    header.set_epoch(epoch);
    header.set_pages(pages);
    header.set_hypervisor_bytes(3);
    message.payload.resize(state_bytes);
    take(std::move(message));
  }
  void hand_over(Epoch epoch) {
    wire::Message message;
    message.envelope.mutable_hand_over()->set_epoch(epoch);
    take(std::move(message));
  }
  void checkpoint_with_addresses(int count, std::size_t mac_bytes, std::size_t ip_bytes) {
    wire::Message message;
    for (int i = 0; i < count; ++i) {
      auto& address = *message.envelope.mutable_checkpoint()->add_addresses();
      address.set_mac(std::string(mac_bytes, 'm'));
      address.set_address(std::string(ip_bytes, 'i'));
    }
    checkpoint(1, 0, 3, std::move(message));
  }
  void close() {
    wire::Link::Event event;
    event.closed = "reset";
    replica.handle(std::move(event));
  }
  // What the replica last told the primary.
  std::optional<wire::Message> answer() {
    std::optional<wire::Message> last;
    while (!primary.empty()) last = primary.wait({}).message;
    return last;
  }

  ManualClock clock;
  Link link{clock}, primary{clock};
  Restorer restorer;
  Disks disks;
  Copies copies{disks};
  wire::PageEncoder first_copy_encoder{0, true}, encoder{kCachePages, true};
  replica::Replica replica;
};

BOOST_AUTO_TEST_CASE(pages_of_an_open_epoch_never_reach_the_domain) {
  Fed fed;
  fed.start();
  fed.page(0, 4, 1);
  fed.checkpoint(1, 0);
  fed.page(1 + 1, 4, 2);
  BOOST_TEST(fed.restorer.memory[4] == Page(kPageBytes, std::byte{1}));
  fed.clock.advance(1001ms);
  fed.replica.step();
  BOOST_TEST((fed.replica.state() == State::kActivate));
  BOOST_TEST(fed.restorer.memory[4] == Page(kPageBytes, std::byte{1}));
  BOOST_TEST(fed.replica.staged_pages() == 0u);
}

BOOST_AUTO_TEST_CASE(the_newest_version_of_a_page_in_an_epoch_counts) {
  Fed fed;
  fed.start();
  fed.page(1, 4, 1);
  fed.page(1, 4, 2);
  fed.checkpoint(1, 2);
  BOOST_TEST(fed.restorer.memory[4] == Page(kPageBytes, std::byte{2}));
  BOOST_TEST(fed.answer()->envelope.commit().epoch() == 1u);
}

BOOST_AUTO_TEST_CASE(a_page_that_did_not_change_counts_and_is_not_staged) {
  Fed fed;
  fed.start();
  fed.page(1, 4, 1);
  fed.checkpoint(1, 1);
  fed.page(2, 4, 1);
  BOOST_TEST(fed.encoder.last().pages[wire::UNCHANGED] == 1u);
  BOOST_TEST(fed.replica.staged_pages() == 0u);
  fed.checkpoint(2, 1);
  BOOST_TEST(fed.replica.committed() == 2u);
  BOOST_TEST(fed.restorer.memory[4] == Page(kPageBytes, std::byte{1}));
}

BOOST_AUTO_TEST_CASE(a_page_cache_that_is_too_large_is_refused) {
  Fed fed({.guest_name = "g", .delta_cache_bytes_max = (Fed::kCachePages - 1) * kPageBytes});
  BOOST_CHECK_THROW(fed.start(), Error);
  BOOST_TEST(!fed.restorer.begun);
  BOOST_TEST(!fed.answer()->envelope.failure().advice().empty());
}

BOOST_AUTO_TEST_CASE(silence_before_a_commit_discards) {
  Fed fed;
  fed.start();
  fed.page(0, 1, 1);
  fed.clock.advance(1001ms);
  fed.replica.step();
  BOOST_TEST((fed.replica.state() == State::kDiscard));
}

BOOST_AUTO_TEST_CASE(silence_activates_at_the_timeout_and_not_before) {
  Fed fed;
  fed.start();
  fed.checkpoint(1, 0);
  fed.clock.advance(1000ms);
  fed.replica.step();
  BOOST_TEST((fed.replica.state() == State::kProtecting));
  fed.clock.advance(1ms);
  fed.replica.step();
  BOOST_TEST((fed.replica.state() == State::kActivate));
}

BOOST_AUTO_TEST_CASE(a_primary_that_was_only_silent_is_told_of_the_activation) {
  Fed fed;
  fed.start();
  fed.checkpoint(1, 0);
  fed.clock.advance(1001ms);
  fed.replica.step();
  BOOST_REQUIRE(fed.answer()->envelope.has_failure());
}

BOOST_AUTO_TEST_CASE(a_closed_link_gives_the_guardian_time_to_say_stand_down) {
  Fed fed;
  fed.start();
  fed.checkpoint(1, 0);
  fed.clock.advance(10ms);
  fed.close();
  BOOST_TEST((fed.replica.state() == State::kLost));
  fed.replica.stand_down("the guest lives");
  BOOST_TEST((fed.replica.state() == State::kDiscard));
}

BOOST_AUTO_TEST_CASE(a_closed_link_without_a_word_activates_at_the_timeout) {
  Fed fed;
  fed.start();
  fed.checkpoint(1, 0);
  fed.close();
  fed.clock.advance(999ms);
  fed.replica.step();
  BOOST_TEST((fed.replica.state() == State::kLost));
  fed.clock.advance(1ms);
  fed.replica.step();
  BOOST_TEST((fed.replica.state() == State::kActivate));
  fed.replica.stand_down("too late");
  BOOST_TEST((fed.replica.state() == State::kActivate));
}

BOOST_AUTO_TEST_CASE(a_guest_that_is_handed_over_is_activated_without_a_failure) {
  Fed fed;
  fed.start();
  fed.checkpoint(1, 0);
  fed.hand_over(1);
  BOOST_TEST(fed.replica.handed_over());
  BOOST_TEST((fed.replica.state() == State::kActivate));
  // It waits for what its owner makes of that, and for no Failure.
  BOOST_TEST(fed.answer()->envelope.has_commit());
}

BOOST_AUTO_TEST_CASE(what_breaks_the_protocol_is_refused_and_the_primary_told) {
  const std::vector<std::pair<const char*, std::function<void(Fed&)>>> breaches = {
      {"pages before start", [](Fed& fed) { fed.page(0, 1, 1); }},
      {"checkpoint before start", [](Fed& fed) { fed.checkpoint(1, 0); }},
      {"start twice", [](Fed& fed) { fed.start(), fed.start(); }},
      {"another guest's name", [](Fed& fed) { fed.start(16, "h"); }},
      {"another guest's uuid", [](Fed& fed) { fed.start(16, "g", std::string(16, 'u')); }},
      {"no frames", [](Fed& fed) { fed.start(0); }},
      {"frame out of bounds", [](Fed& fed) { fed.start(16), fed.page(1, 16, 1); }},
      {"an epoch skipped", [](Fed& fed) { fed.start(), fed.checkpoint(2, 0); }},
      {"pages of a later epoch", [](Fed& fed) { fed.start(), fed.page(2, 1, 1); }},
      {"first copy after a checkpoint",
       [](Fed& fed) { fed.start(), fed.checkpoint(1, 0), fed.page(0, 1, 1); }},
      {"a page missing", [](Fed& fed) { fed.start(), fed.page(1, 1, 1), fed.checkpoint(1, 2); }},
      {"state too short", [](Fed& fed) { fed.start(), fed.checkpoint(1, 0, 2); }},
      {"state too long", [](Fed& fed) { fed.start(), fed.checkpoint(1, 0, 4); }},
      {"too many addresses",
       [](Fed& fed) { fed.start(), fed.checkpoint_with_addresses(65, 6, 4); }},
      {"a card's address cut short",
       [](Fed& fed) { fed.start(), fed.checkpoint_with_addresses(1, 5, 4); }},
      {"handed over before start", [](Fed& fed) { fed.hand_over(0); }},
      {"handed over before a commit", [](Fed& fed) { fed.start(), fed.hand_over(0); }},
      {"handed over as of another epoch",
       [](Fed& fed) { fed.start(), fed.checkpoint(1, 0), fed.hand_over(2); }},
      {"handed over in an epoch",
       [](Fed& fed) { fed.start(), fed.checkpoint(1, 0), fed.page(2, 1, 1), fed.hand_over(1); }},
      {"an address of no protocol",
       [](Fed& fed) { fed.start(), fed.checkpoint_with_addresses(1, 6, 15); }},
  };
  for (const auto& [name, breach] : breaches) {
    BOOST_TEST_CONTEXT(name) {
      Fed fed;
      BOOST_CHECK_THROW(breach(fed), wire::ProtocolError);
      const auto answer = fed.answer();
      BOOST_REQUIRE(answer.has_value());
      BOOST_TEST(answer->envelope.has_failure());
    }
  }
}

BOOST_AUTO_TEST_CASE(staging_is_bounded) {
  Fed fed({.guest_name = "g", .staging_bytes_max = 2 << 20});
  fed.start(4096);
  const auto fill = [&] {
    for (Gfn gfn = 0; gfn < 4096; ++gfn) fed.page(1, gfn, 1);
  };
  BOOST_CHECK_THROW(fill(), Error);
  BOOST_TEST(fed.answer()->envelope.has_failure());
}

// Of epochs that have come, while the disks' links keep them waiting.
BOOST_AUTO_TEST_CASE(states_and_digests_that_wait_are_bounded) {
  const auto checkpoint = [](Fed& fed, Epoch epoch) {
    constexpr std::uint64_t kStateBytes = 1 << 20;
    wire::Message message;
    message.envelope.mutable_checkpoint()->set_device_model_bytes(kStateBytes);
    message.envelope.mutable_checkpoint()->add_disk_marks(1);
    fed.checkpoint(epoch, 0, 3 + kStateBytes, std::move(message));
  };
  const replica::ReplicaOptions options = {.guest_name = "g", .staging_bytes_max = 3 << 20};
  Fed states(options);
  states.start();
  states.disks.marks = {1};
  checkpoint(states, 1);
  checkpoint(states, 2);
  BOOST_CHECK_THROW(checkpoint(states, 3), Error);

  Fed digests(options);
  digests.start();
  digests.disks.marks = {1};
  checkpoint(digests, 1);
  const auto send_digests = [&](int count) {
    wire::Message message;
    message.envelope.mutable_digests()->set_epoch(1);
    for (int i = 0; i < count; ++i) digests.take(message);
  };
  send_digests(100);
  BOOST_CHECK_THROW(send_digests(100'000), Error);
}

BOOST_AUTO_TEST_CASE(a_primary_that_takes_no_answers_gets_no_more_of_them) {
  Fed commits;
  commits.start();
  commits.checkpoint(1, 0);
  commits.link.queued = wire::kAnswersBytesMax;
  commits.checkpoint(2, 0);
  commits.link.queued += 1;
  BOOST_CHECK_THROW(commits.checkpoint(3, 0), wire::ProtocolError);

  Fed verified;
  verified.start();
  verified.checkpoint(1, 0);
  const auto last_digests = [&] {
    wire::Message message;
    message.envelope.mutable_digests()->set_epoch(1);
    message.envelope.mutable_digests()->set_last(true);
    verified.take(std::move(message));
  };
  verified.link.queued = wire::kAnswersBytesMax;
  last_digests();
  verified.link.queued += 1;
  BOOST_CHECK_THROW(last_digests(), wire::ProtocolError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace specrep::sim
