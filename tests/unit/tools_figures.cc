#include <boost/test/unit_test.hpp>
#include <limits>

#include "tools/figures.h"

namespace {

using namespace specrep;
using namespace std::chrono_literals;
using nlohmann::json;
using tools::Figures;

constexpr TimePoint kStart{1h};

epoch::EpochReport report(Duration length, std::uint64_t residual_pages) {
  epoch::EpochReport r;
  r.residual_pages = residual_pages;
  r.residual_bytes = 1000;
  r.length = length;
  r.suspend = 1ms;
  r.capture_memory = 2ms;
  r.capture_state = 3ms;
  r.resume = 4ms;
  r.verify = 500ms;
  return r;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tools_figures)

BOOST_AUTO_TEST_CASE(recent_means_are_of_the_last_seconds_alone) {
  Figures figures(kStart);
  TimePoint now = kStart;
  for (int second = 0; second < 20; ++second) {
    for (int i = 0; i < 4; ++i) {
      figures.checkpoint(report(240ms, second < 10 ? 1000 : 10));
      figures.commit(5ms);
    }
    now += 1s;
    const json recent = figures.recent(now);
    if (second == 19) {
      BOOST_TEST(recent["seconds"] == 5.0);
      BOOST_TEST(recent["epochs"] == 20);
      BOOST_TEST(recent["residual_pages"] == 10.0);
      BOOST_TEST(recent["pause_ms"] == 10.0);  // without what --verify takes
      BOOST_TEST(recent["output_delay_ms"] == 240.0 + 10.0 + 5.0);
      BOOST_TEST(recent["bytes_per_s"] == 4000.0);
    }
  }
  BOOST_TEST(figures.means()["residual_pages_per_epoch"] == 505.0);
  BOOST_TEST(figures.sums()["epochs"] == 80);
  BOOST_TEST(figures.sums()["pause_s"] == 0.8);
}

BOOST_AUTO_TEST_CASE(epochs_longer_than_the_window_still_show_the_last_one) {
  Figures figures(kStart);
  figures.checkpoint(report(60s, 7));
  for (int second = 1; second < 60; ++second)
    BOOST_TEST(figures.recent(kStart + std::chrono::seconds(second))["residual_pages"] == 7.0);
  figures.checkpoint(report(60s, 8));
  BOOST_TEST(figures.recent(kStart + 60s)["residual_pages"] == 8.0);
}

BOOST_AUTO_TEST_CASE(logged_figures_follow_one_another_without_gap) {
  Figures figures(kStart);
  std::uint64_t epochs = 0, pages = 0;
  TimePoint now = kStart;
  for (int i = 1; i <= 30; ++i) {
    auto r = report(200ms, 1);
    r.codecs.pages[0] = 2;
    figures.checkpoint(r);
    now += 200ms;
    if (i % 7 == 0 || i == 30) {
      const json line = figures.since_logged(now);
      epochs += line["epochs"].get<std::uint64_t>();
      pages += line["codecs"]["raw"]["pages"].get<std::uint64_t>();
    }
  }
  BOOST_TEST(epochs == 30u);
  BOOST_TEST(pages == 60u);
}

BOOST_AUTO_TEST_CASE(nothing_is_divided_by_no_epoch) {
  Figures figures(kStart);
  for (const json& figure : {figures.recent(kStart), figures.means(), figures.since_logged(kStart)})
    for (const auto& [key, value] : figure.items())
      if (value.is_number()) BOOST_TEST(value.get<double>() == 0.0, key);
}

// They are in one node of xenstore, with half a KiB of other things.
BOOST_AUTO_TEST_CASE(the_largest_figures_fit_into_a_xenstore_node) {
  constexpr std::uint64_t kMany = 123'456'789'012'345;
  Figures figures(kStart);
  auto r = report(23456h, kMany);
  r.residual_bytes = r.speculative_pages = r.speculative_bytes = r.wasted_pages = r.wasted_bytes =
      r.written_pages = kMany;
  r.suspend = r.capture_memory = r.capture_state = r.resume = r.sampling = 23456h + 1us;
  r.codecs.pages.fill(kMany);
  r.codecs.bytes.fill(kMany);
  for (int i = 0; i < 3; ++i) figures.checkpoint(r), figures.commit(23456h + 7us);
  json all = figures.means();
  all["sums"] = figures.sums();
  all["recent"] = figures.recent(kStart + 1s);
  BOOST_TEST(all.dump().size() < 3500u);
}

BOOST_AUTO_TEST_SUITE_END()
