// Traces replayed through the engine: the figures are those that can be worked out by hand.

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "libspecrep/error.h"
#include "libspecrep/trace/replay.h"

namespace specrep::trace {
namespace {

using namespace std::chrono_literals;
using model::PolicyKind;

// A trace of 100 ms epochs that is removed in the end. `pages(time in the epoch in us)` are
// written since the sample before.
struct TraceFile {
  explicit TraceFile(const std::function<std::vector<PageWrite>(std::uint64_t)>& pages,
                     unsigned epochs = 20) {
    path = std::filesystem::temp_directory_path() /
           ("specrep-replay-" + std::to_string(getpid()) + ".trace");
    TraceHeader header;
    header.set_gfn_count(10'000);
    header.set_epoch_ms(100);
    header.set_finest_us(1000);
    Writer writer(path, header);
    for (unsigned epoch = 0; epoch < epochs; ++epoch) {
      for (const auto at : grid_us(100, 1000)) {
        Sample sample;
        sample.time_us = epoch * 100'000ull + at;
        sample.pages = pages(at);
        writer.append(sample);
      }
    }
    writer.finish();
  }
  ~TraceFile() { std::filesystem::remove(path); }

  epoch::Totals replay(PolicyKind policy) const {
    return sum(trace::replay(path, {.policy = {policy}}).epochs);
  }
  std::string path;
};

// Page 1 in every sample, a line of it; pages 10 to 19 whole, once an epoch, early on.
std::vector<PageWrite> hot_and_cold(std::uint64_t at_us) {
  std::vector<PageWrite> pages{{1, 1, 4}};
  if (at_us == grid_us(100, 1000).front())
    for (Gfn gfn = 10; gfn < 20; ++gfn) pages.push_back({gfn, ~std::uint64_t{0}, 254});
  return pages;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(trace_replay)

BOOST_AUTO_TEST_CASE(remus_leaves_everything_to_the_end) {
  const TraceFile file(hot_and_cold);
  const epoch::Totals totals = file.replay(PolicyKind::kRemus);
  BOOST_TEST(totals.epochs == 20u);
  BOOST_TEST(totals.written_pages == 20u * 11);
  BOOST_TEST(totals.residual_pages == 20u * 11);
  BOOST_TEST(totals.speculative_pages == 0u);
  BOOST_TEST(totals.samples == 0u);
  BOOST_TEST(totals.remus_bytes() == 20u * 11 * 4096);
}

BOOST_AUTO_TEST_CASE(the_bound_leaves_what_is_written_after_the_last_sample) {
  const TraceFile file(hot_and_cold);
  const epoch::Totals totals = file.replay(PolicyKind::kClairvoyant);
  BOOST_TEST(totals.residual_pages == 20u);
  BOOST_TEST(totals.speculative_pages == 200u);
  BOOST_TEST(totals.wasted_pages == 0u);
  BOOST_TEST(totals.samples >= 20u * 3);
  BOOST_TEST(totals.samples <= 20u * (grid_us(100, 1000).size() - 1));
}

BOOST_AUTO_TEST_CASE(always_pays_for_the_bound_with_waste) {
  const TraceFile file(hot_and_cold);
  const epoch::Totals totals = file.replay(PolicyKind::kAlways);
  BOOST_TEST(totals.residual_pages == 20u);
  BOOST_TEST(totals.wasted_pages == totals.samples);
}

BOOST_AUTO_TEST_CASE(adaptive_reaches_the_bound_without_the_waste) {
  const TraceFile file(hot_and_cold, 200);
  const epoch::Totals totals = file.replay(PolicyKind::kAdaptive);
  BOOST_TEST(totals.residual_pages == 200u);
  // Learning costs some.
  BOOST_TEST(totals.wasted_pages < 100u);
}

BOOST_AUTO_TEST_CASE(a_line_that_changes_is_sent_as_a_line) {
  const TraceFile file(hot_and_cold);
  const epoch::Totals totals = file.replay(PolicyKind::kClairvoyant);
  // Once the whole page, then 64 bytes and what names them.
  BOOST_TEST(totals.residual_bytes < 4096u + 20 * 128);
  BOOST_TEST(totals.residual_bytes > 19u * 64);
  // Ten pages of contents that do not pack.
  BOOST_TEST(totals.speculative_bytes > 200u * 4096);
}

BOOST_AUTO_TEST_CASE(a_page_that_is_written_and_not_changed_is_not_sent_again) {
  const TraceFile file([](std::uint64_t) { return std::vector<PageWrite>{{7, 0, 0}}; });
  const epoch::Totals totals = file.replay(PolicyKind::kRemus);
  BOOST_TEST(totals.codecs.pages[wire::UNCHANGED] == 19u);
  BOOST_TEST(totals.residual_pages == 20u);
}

BOOST_AUTO_TEST_CASE(pages_that_became_zero_cost_no_payload) {
  const TraceFile file([](std::uint64_t) { return std::vector<PageWrite>{{7, ~0ull, kZeroPage}}; });
  const epoch::Totals totals = file.replay(PolicyKind::kRemus);
  BOOST_TEST(totals.codecs.pages[wire::ZERO] == 20u);
}

BOOST_AUTO_TEST_CASE(epochs_are_multiples_of_the_recorded_ones) {
  const TraceFile file(hot_and_cold);
  BOOST_TEST(trace::replay(file.path, {.epoch = 500ms}).epochs.size() == 4u);
  BOOST_CHECK_THROW(trace::replay(file.path, {.epoch = 50ms}), Error);
  BOOST_CHECK_THROW(trace::replay(file.path, {.epoch = 10'000ms}), Error);
}

BOOST_AUTO_TEST_CASE(a_slow_link_is_not_given_more_than_it_carries) {
  // 200 pages of new contents an epoch are 8 MB/s.
  const TraceFile file([](std::uint64_t at_us) {
    std::vector<PageWrite> pages;
    if (at_us == grid_us(100, 1000).front())
      for (Gfn gfn = 0; gfn < 200; ++gfn) pages.push_back({gfn, ~0ull, 254});
    return pages;
  });
  const auto fast = sum(trace::replay(file.path, {}).epochs);
  const auto slow = sum(trace::replay(file.path, {.bandwidth_bytes_per_s = 4e6}).epochs);
  BOOST_TEST(fast.residual_pages < slow.residual_pages / 10);
  BOOST_TEST(slow.residual_pages > 0u);
  BOOST_TEST(slow.speculative_pages > 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace specrep::trace
