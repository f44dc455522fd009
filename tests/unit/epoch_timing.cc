// When to sample, what may be sent, and how long epochs are.

#include <boost/test/unit_test.hpp>

#include "libspecrep/epoch/costs.h"
#include "libspecrep/epoch/epoch_length.h"
#include "libspecrep/epoch/sampling_schedule.h"

namespace specrep::epoch {

using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(sampling_schedule)

BOOST_AUTO_TEST_CASE(samples_close_in_on_the_end) {
  const TimePoint start{1s};
  SamplingSchedule schedule(start, 100ms, 10ms, 100ms);
  BOOST_TEST(schedule.slots_left() == 4u);  // 80, 40, 20 and 10 ms before the end
  BOOST_TEST((schedule.next() == start + 20ms));
  BOOST_TEST(!schedule.take(start + 19ms));
  BOOST_TEST(schedule.take(start + 20ms).value() == 3u);
  BOOST_TEST(!schedule.take(start + 20ms));
  BOOST_TEST((schedule.next() == start + 60ms));
  BOOST_TEST(schedule.take(start + 85ms).value() == 1u);  // two were due: one serves both
  BOOST_TEST((schedule.next() == start + 90ms));
  BOOST_TEST(schedule.take(start + 90ms).value() == 0u);
  BOOST_TEST((schedule.next() == schedule.end()));
}

BOOST_AUTO_TEST_CASE(the_first_sample_is_the_last_one_that_leaves_the_horizon) {
  const TimePoint start{1s};
  SamplingSchedule schedule(start, 100ms, 10ms, 35ms);
  BOOST_TEST((schedule.next() == start + 60ms));
  BOOST_TEST(schedule.slots_left() == 3u);
  BOOST_TEST((SamplingSchedule(start, 100ms, 10ms, 40ms).next() == start + 60ms));
  BOOST_TEST((SamplingSchedule(start, 100ms, 10ms, 41ms).next() == start + 20ms));
}

BOOST_AUTO_TEST_CASE(an_epoch_that_goes_on_gets_one_more) {
  const TimePoint start{1s};
  SamplingSchedule schedule(start, 100ms, 10ms, 100ms);
  schedule.postpone(start + 300ms);
  BOOST_TEST(schedule.take(start + 300ms).value() == 0u);
  BOOST_TEST((schedule.end() == start + 310ms));
  SamplingSchedule none(start, 100ms, 0ms, 100ms);
  none.postpone(start + 300ms);
  BOOST_TEST((none.end() == start + 100ms));
}

BOOST_AUTO_TEST_CASE(there_may_be_none) {
  const TimePoint start{1s};
  BOOST_TEST((SamplingSchedule(start, 100ms, 0ms, 100ms).next() == start + 100ms));
  BOOST_TEST((SamplingSchedule(start, 100ms, 60ms, 100ms).next() == start + 100ms));
  BOOST_TEST((SamplingSchedule(start, 100ms, 50ms, 1ms).next() == start + 50ms));
}

BOOST_AUTO_TEST_CASE(a_long_epoch_has_no_more_slots_than_are_numbered) {
  const SamplingSchedule schedule(TimePoint{1s}, 10'000s, 1us, Duration::max());
  BOOST_TEST(schedule.slots_left() == model::kSlotsMax);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(costs)

// Epochs of 100 ms whose samples cost so much each.
Costs after_epochs(unsigned epochs, Duration each) {
  Costs costs;
  for (unsigned i = 0; i < epochs; ++i) {
    SamplingSchedule schedule(TimePoint{1s}, 100ms, costs.finest(100ms), costs.horizon());
    for (unsigned n = schedule.slots_left(); n > 0; --n) costs.sampled(each, 0);
    costs.ended(100ms, 0, 0, 0);
  }
  return costs;
}

BOOST_AUTO_TEST_CASE(cheap_samples_come_close_to_the_end_and_early) {
  const Costs costs = after_epochs(50, 50us);
  BOOST_TEST((costs.finest(100ms) == Costs::kFinestMin));
  BOOST_TEST((costs.horizon() >= 64ms));
}

BOOST_AUTO_TEST_CASE(dear_samples_come_later_and_are_fewer) {
  const Costs costs = after_epochs(50, 1ms);
  // 5 % of 100 ms are five samples.
  BOOST_TEST(
      SamplingSchedule(TimePoint{1s}, 100ms, costs.finest(100ms), costs.horizon()).slots_left() <=
      5u);
  BOOST_TEST((costs.horizon() < 64ms));
  // One is always taken, …
  const Costs dear = after_epochs(50, 10ms);
  BOOST_TEST(
      SamplingSchedule(TimePoint{1s}, 100ms, dear.finest(100ms), dear.horizon()).slots_left() ==
      1u);
}

BOOST_AUTO_TEST_CASE(a_log_that_takes_too_long_to_read_is_left_alone_but_for_a_try_now_and_then) {
  Costs costs;
  unsigned samples = 0;
  for (int i = 0; i < 170; ++i) {
    if (costs.finest(100ms) != Duration{}) {
      costs.sampled(30ms, 0);
      ++samples;
    }
    costs.ended(100ms, 0, 0, 0);
  }
  BOOST_TEST(samples == 10u);
  // A single slow one is no reason to give up for good.
  for (int i = 0; i < 100; ++i) {
    if (costs.finest(100ms) != Duration{}) costs.sampled(50us, 0);
    costs.ended(100ms, 0, 0, 0);
  }
  BOOST_TEST((costs.finest(100ms) == Costs::kFinestMin));
}

BOOST_AUTO_TEST_CASE(the_first_sample_leaves_time_to_send_an_epoch) {
  Costs costs;
  for (int i = 0; i < 50; ++i) {
    costs.sampled(10ms, 0);
    costs.sent(0, 100us, 100, 1000);
    costs.ended(100ms, 10'000, 0, 0);  // at 1 us each
  }
  BOOST_TEST((costs.horizon() >= 20ms));
}

BOOST_AUTO_TEST_CASE(the_first_sample_leaves_the_link_time_for_what_an_epoch_took) {
  Costs costs;
  TimePoint now{1s};
  for (std::uint64_t i = 1; i <= 50; ++i) {
    costs.sampled(0ms, 3500);  // at 2 us each
    costs.sent(0, 100us, 1000, 64'000);
    costs.link(now += 100ms, i * 5'000'000, 1);  // 50 bytes a microsecond
    // Mostly small versions; one epoch in ten has much that is new, and leaves half of it.
    if (i % 10 == 0)
      costs.ended(100ms, 1000, 500, 500'000);
    else
      costs.ended(100ms, 1000, 1000, 64'000);
    if (i >= 10) BOOST_TEST((costs.horizon() >= (i % 10 == 0 ? 40ms : 13ms)));
  }
  // That costs more than samples should, and the last one stays where it saves most.
  BOOST_TEST((costs.finest(100ms) == 1ms));
}

BOOST_AUTO_TEST_CASE(
    write_faults_that_cost_too_much_take_time_from_the_link_and_not_the_last_sample) {
  Costs costs;
  TimePoint now{1s};
  auto epochs = [&, i = 0](int count, std::uint64_t refaults) mutable {
    for (; count > 0; --count) {
      costs.sampled(0ms, refaults);  // at 2 us each
      costs.sent(0, 100us, 1000, 64'000);
      costs.link(now += 100ms, static_cast<std::uint64_t>(++i) * 5'000'000, 1);
      costs.ended(100ms, 1000, 1000, 1'000'000);  // 20 ms at 50 bytes a microsecond
    }
  };
  epochs(50, 4500);
  BOOST_TEST((costs.horizon() == 40ms));
  epochs(8, 6000);
  BOOST_TEST((costs.horizon() <= 20ms));
  BOOST_TEST((costs.finest(100ms) == 1ms));
  // It has it again when they cost less.
  epochs(50, 2000);
  BOOST_TEST((costs.horizon() >= 40ms));
}

BOOST_AUTO_TEST_CASE(write_faults_count_as_what_they_cost_on_this_host) {
  Costs costs(9us);
  costs.sampled(0ms, 1000);
  BOOST_TEST((costs.sample_cost() == 9ms));
  for (unsigned i = 0; i < Costs::kEpochsJudged; ++i) {
    BOOST_TEST((costs.horizon() >= 100ms));
    if (i > 0) costs.sampled(0ms, 1000);
    costs.ended(100ms, 1000, 0, 0);
  }
  // More than its share, so that the next epoch's first sample comes later.
  BOOST_TEST((costs.horizon() < 100ms));
}

BOOST_AUTO_TEST_CASE(one_epoch_that_costs_more_than_usual_is_no_reason_to_sample_less) {
  Costs costs;
  for (unsigned i = 0; i < 10 * Costs::kEpochsJudged; ++i) {
    costs.sampled(i % Costs::kEpochsJudged == 0 ? 8ms : 3ms, 0);
    costs.ended(100ms, 1000, 0, 0);
  }
  BOOST_TEST((costs.horizon() >= 100ms));
}

BOOST_AUTO_TEST_CASE(nothing_limits_what_nothing_is_known_of) {
  BOOST_TEST(Costs().pages_in(0, 1ms, 0) >= model::kUnlimited);
}

BOOST_AUTO_TEST_CASE(pages_take_the_time_that_they_took) {
  Costs costs;
  costs.sent(3, 1ms, 100, 1000);
  BOOST_TEST(costs.pages_in(3, 2ms, 0) == 200u);
  BOOST_TEST(costs.pages_in(3, 6ms, 0) == 600u);
  BOOST_TEST(costs.pages_in(3, -1ms, 0) == 0u);
}

BOOST_AUTO_TEST_CASE(pages_take_what_they_took_at_the_same_slot) {
  Costs costs;
  costs.sent(3, 1ms, 100, 1000);
  BOOST_TEST(costs.pages_in(2, 2ms, 0) == 200u);  // of that slot nothing is known yet
  costs.sent(2, 100us, 100, 1000);
  BOOST_TEST(costs.pages_in(2, 2ms, 0) == 2000u);
  BOOST_TEST(costs.pages_in(3, 2ms, 0) == 200u);
}

BOOST_AUTO_TEST_CASE(a_busy_link_shows_its_rate) {
  Costs costs;
  costs.sent(0, 1us, 100, 100'000);
  TimePoint now{1s};
  costs.link(now, 1'000'000, 1'000'000);
  BOOST_TEST(costs.link_rate() == 0);
  costs.link(now += 10ms, 2'000'000, 1'500'000);  // 500,000 bytes in 10 ms
  BOOST_TEST(std::abs(costs.link_rate() - 50e6) < 1);
  // 50 bytes a microsecond, of 1,000 a page, less what is queued.
  BOOST_TEST(costs.pages_in(0, 1ms, 0) == 50u);
  BOOST_TEST(costs.pages_in(0, 1ms, 20'000) == 30u);
  BOOST_TEST(costs.pages_in(0, 1ms, 49'999) == 1u);
  BOOST_TEST(costs.pages_in(0, 1ms, 60'000) == 0u);
  // Pages that turn out to be larger than those before.
  BOOST_TEST(costs.pages_in(0, 1ms, 0, 2'000) == 25u);
  BOOST_TEST(costs.pages_in(0, 1ms, 0, 500) == 50u);
  // An idle link shows nothing.
  costs.link(now += 10ms, 2'000'000, 0);
  costs.link(now += 10ms, 2'000'001, 0);
  BOOST_TEST(std::abs(costs.link_rate() - 50e6) < 1);
  // Nor does the time that it was idle before something was queued: both looks came before that.
  costs.link(now += 10ms, 2'000'001, 0);
  costs.link(now += 4ms, 2'400'001, 200'000);  // 200,000 bytes in 4 ms
  BOOST_TEST(std::abs(costs.link_rate() - 50e6) < 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(epoch_length)

BOOST_AUTO_TEST_CASE(without_a_target_it_is_fixed) {
  EpochLength length({.length = 300ms});
  length.paused(50ms, 10ms);
  length.committed(70ms);
  BOOST_TEST((length.length() == 300ms));
}

BOOST_AUTO_TEST_CASE(delay_is_epoch_and_pause_and_lag) {
  EpochLength length({.max_delay = 200ms});
  length.paused(20ms, 0ms);
  length.committed(30ms);
  BOOST_TEST((length.length() == 150ms));
  // A single bad epoch is felt at once, and forgotten slowly.
  length.paused(120ms, 0ms);
  BOOST_TEST((length.length() == 50ms));
  length.paused(20ms, 0ms);
  BOOST_TEST((length.length() > 50ms && length.length() < 150ms));
  length.paused(900ms, 0ms);
  BOOST_TEST((length.length() == EpochLength::kMin));
}

BOOST_AUTO_TEST_CASE(overhead_is_a_share_of_all_time) {
  EpochLength length({.max_overhead = 0.1});
  length.paused(10ms, 0ms);
  // 10 ms in 100 ms, of which the guest ran 90.
  BOOST_TEST((length.length() == 90ms));
  EpochLength sampled({.max_overhead = 0.1});
  sampled.paused(10ms, 5ms);
  BOOST_TEST((sampled.length() == 140ms));
}

BOOST_AUTO_TEST_CASE(the_delay_goes_before_the_overhead) {
  EpochLength length({.max_delay = 100ms, .max_overhead = 0.01});
  length.paused(10ms, 0ms);
  BOOST_TEST((length.length() == 90ms));
  EpochLength other({.max_delay = 5000ms, .max_overhead = 0.1});
  other.paused(10ms, 0ms);
  BOOST_TEST((other.length() == 90ms));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace specrep::epoch
