// The dirtiness model: page history, predictor, policies.

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>
#include <set>

#include "libspecrep/error.h"
#include "libspecrep/model/page_history.h"
#include "libspecrep/model/policy.h"
#include "libspecrep/model/predictor.h"

namespace specrep::model {
namespace {

std::vector<Gfn> in_order(Policy& policy, Slot slot, const std::vector<Gfn>& unsent,
                          std::uint64_t later = kUnlimited) {
  std::vector<Gfn> chosen;
  policy.choose(slot, unsent, later, chosen);
  return chosen;
}

std::set<Gfn> choose(Policy& policy, Slot slot, const std::vector<Gfn>& unsent,
                     std::uint64_t later = kUnlimited) {
  const auto chosen = in_order(policy, slot, unsent, later);
  const std::set<Gfn> set(chosen.begin(), chosen.end());
  BOOST_TEST(set.size() == chosen.size());
  return set;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(page_history)

BOOST_AUTO_TEST_CASE(recent_samples_are_the_low_bits) {
  PageHistory history(4);
  BOOST_TEST(history.pattern(1) == 0);
  history.begin_sample();
  history.write(1);
  BOOST_TEST(history.pattern(1) == 0b0001);
  history.begin_sample();
  BOOST_TEST(history.pattern(1) == 0b0010);
  history.begin_sample();
  history.write(1);
  BOOST_TEST(history.pattern(1) == 0b0101);
  for (int i = 0; i < 4; ++i) history.begin_sample();
  BOOST_TEST(history.pattern(1) == 0);
  BOOST_TEST(history.pattern(2) == 0);
}

BOOST_AUTO_TEST_CASE(pages_of_the_residual_are_the_high_bits) {
  PageHistory history(4);
  const auto epoch = [&](bool written_at_end) {
    history.begin_sample();
    history.begin_final_sample();
    if (written_at_end) history.write(1);
    history.end_epoch();
  };
  epoch(true);
  history.begin_sample();
  BOOST_TEST((history.pattern(1) >> 4) == 0b0001);
  history.begin_final_sample();
  history.end_epoch();
  epoch(true);
  history.begin_sample();
  BOOST_TEST((history.pattern(1) >> 4) == 0b0101);
  history.begin_final_sample();
  history.end_epoch();
  for (int i = 0; i < 2; ++i) epoch(false);
  BOOST_TEST((history.pattern(1) >> 4) == 0b1000);
  epoch(false);
  BOOST_TEST(history.pattern(1) == 0);
}

BOOST_AUTO_TEST_CASE(a_history_kept_lazily_is_that_kept_page_by_page) {
  // Every page's bits shifted at every sample, which is what the lazy history stands for.
  constexpr Gfn kPages = 50;
  std::mt19937 random(1);
  PageHistory history(kPages);
  std::vector<unsigned> recent(kPages), ends(kPages);
  for (int epoch = 0; epoch < 200; ++epoch) {
    const auto samples = 1 + random() % 6;
    for (auto i = samples * 0; i <= samples; ++i) {
      const bool last = i == samples;
      last ? history.begin_final_sample() : history.begin_sample();
      for (Gfn gfn = 0; gfn < kPages; ++gfn) {
        const bool written = random() % (2 + gfn / 3) == 0;
        if (written) history.write(gfn);
        recent[gfn] = (recent[gfn] << 1 | (written ? 1u : 0u)) & 15u;
        if (last) ends[gfn] = (ends[gfn] << 1 | (written ? 1u : 0u)) & 15u;
      }
      if (last) history.end_epoch();
      for (Gfn gfn = 0; gfn < kPages; ++gfn)
        BOOST_REQUIRE_EQUAL(history.pattern(gfn), recent[gfn] | ends[gfn] << 4);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_page_costs_two_bytes) { BOOST_TEST(PageHistory::kBytesPerPage <= 2u); }

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(predictor)

BOOST_AUTO_TEST_CASE(learns_how_often_a_pattern_was_written_again) {
  Predictor predictor;
  std::mt19937 random(2);
  for (int i = 0; i < 4000; ++i) {
    predictor.learn(3, 0x01, random() % 10 == 0);
    predictor.learn(3, 0xff, random() % 10 != 0);
  }
  BOOST_TEST(std::abs(predictor.written_again(3, 0x01) - 0.1) < 0.04);
  BOOST_TEST(std::abs(predictor.written_again(3, 0xff) - 0.9) < 0.04);
  // A past that was not seen yet is taken for the average one.
  BOOST_TEST(std::abs(predictor.written_again(3, 0x30) - 0.5) < 0.1);
}

BOOST_AUTO_TEST_CASE(forgets_what_no_longer_holds) {
  Predictor predictor;
  for (int i = 0; i < 100'000; ++i) predictor.learn(0, 1, true);
  for (int i = 0; i < 5000; ++i) predictor.learn(0, 1, false);
  BOOST_TEST(predictor.written_again(0, 1) < 0.05);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(policies)

BOOST_AUTO_TEST_CASE(have_names) {
  for (const char* name : {"remus", "always", "age", "adaptive", "clairvoyant"})
    BOOST_TEST(to_string(policy_from_name(name)) == name);
  BOOST_CHECK_EXCEPTION(policy_from_name("oracle"), Error, [](const Error& error) {
    return error.advice().find("adaptive") != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(remus_sends_nothing_and_always_everything) {
  const auto remus = make_policy({PolicyKind::kRemus}, 10);
  const auto always = make_policy({PolicyKind::kAlways}, 10);
  BOOST_TEST(!remus->speculates());
  BOOST_TEST(choose(*remus, 0, {1, 2, 3}).empty());
  BOOST_TEST(choose(*always, 4, {1, 2, 3}).size() == 3u);
  BOOST_TEST(choose(*always, 4, {1, 2, 3}, 0).size() == 3u);
}

BOOST_AUTO_TEST_CASE(age_waits_until_a_page_was_not_written_for_two_samples) {
  const auto age = make_policy({PolicyKind::kAge}, 10);
  const std::vector<Gfn> page{5};
  age->sampled(3, page);
  BOOST_TEST(choose(*age, 3, page).empty());
  age->sampled(2, {});
  BOOST_TEST(choose(*age, 2, page).empty());
  age->sampled(1, {});
  BOOST_TEST(choose(*age, 1, page).size() == 1u);
}

BOOST_AUTO_TEST_CASE(clairvoyant_sends_what_is_not_written_again) {
  struct Future final : Oracle {
    bool written_again(Gfn gfn) const override { return gfn % 2; }
  } future;
  const auto policy = make_policy({PolicyKind::kClairvoyant}, 10, &future);
  BOOST_TEST((choose(*policy, 2, {1, 2, 3, 4}) == std::set<Gfn>{2, 4}));
  BOOST_CHECK_THROW(make_policy({PolicyKind::kClairvoyant}, 10), Error);
}

// Two kinds of pages: even ones are written in every sample, odd ones once in an epoch.
struct Learned {
  std::unique_ptr<Policy> policy = make_policy({PolicyKind::kAdaptive}, 100);
  std::vector<Gfn> all, hot;
  Learned() {
    for (Gfn gfn = 0; gfn < 100; ++gfn) {
      all.push_back(gfn);
      if (gfn % 2 == 0) hot.push_back(gfn);
    }
    for (int epoch = 0; epoch < 100; ++epoch) {
      first_sample();
      choose(*policy, 2, all);
      policy->sampled(1, hot);
      choose(*policy, 1, all);
      policy->sampled(0, hot);
      choose(*policy, 0, all);
      policy->ended(hot);
    }
  }
  void first_sample() { policy->sampled(2, all); }
};

BOOST_AUTO_TEST_CASE(adaptive_tells_hot_pages_from_others) {
  Learned learned;
  learned.first_sample();
  const auto early = choose(*learned.policy, 2, learned.all);
  BOOST_TEST(early.size() == 50u);
  BOOST_TEST(std::all_of(early.begin(), early.end(), [](Gfn gfn) { return gfn % 2 == 1; }));
}

BOOST_AUTO_TEST_CASE(adaptive_leaves_to_the_checkpoint_what_is_always_written_there) {
  Learned learned;
  learned.first_sample();
  learned.policy->sampled(0, learned.hot);
  BOOST_TEST(choose(*learned.policy, 0, learned.all).size() == 50u);
}

BOOST_AUTO_TEST_CASE(adaptive_sends_the_surest_first) {
  Learned learned;
  learned.first_sample();
  // Later samples could carry only 80 pages, and 20 of these: 80 have to go now, hot ones among
  // them.
  const auto chosen = in_order(*learned.policy, 2, learned.all, 80);
  BOOST_TEST(chosen.size() == 80u);
  BOOST_TEST(
      std::all_of(chosen.begin(), chosen.begin() + 50, [](Gfn gfn) { return gfn % 2 == 1; }));
  BOOST_TEST(std::all_of(chosen.begin() + 50, chosen.end(), [](Gfn gfn) { return gfn % 2 == 0; }));
}

BOOST_AUTO_TEST_CASE(what_is_not_known_yet_is_sent) {
  const auto policy = make_policy({PolicyKind::kAdaptive}, 10);
  policy->sampled(3, std::vector<Gfn>{1, 2});
  BOOST_TEST(choose(*policy, 3, {1, 2}).size() == 2u);
  policy->sampled(0, std::vector<Gfn>{3});
  BOOST_TEST(choose(*policy, 0, {3}).size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace specrep::model
