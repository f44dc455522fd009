// The cache of pages against a plain one of lists and maps.
#include "libspecrep/wire/page_cache.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <list>
#include <random>

#include "libspecrep/error.h"

namespace specrep::wire {
namespace {

BOOST_AUTO_TEST_SUITE(wire_page_cache)

void fill(PageCache& cache, PageCache::Slot slot, Gfn gfn) {
  std::memset(cache.data(slot), static_cast<int>(gfn % 251), kPageBytes);
}

bool holds(const PageCache& cache, Gfn gfn) {
  const auto slot = cache.find(gfn);
  if (slot == PageCache::kNone) return false;
  const auto* page = cache.data(slot);
  return std::all_of(page, page + kPageBytes,
                     [&](std::byte b) { return b == std::byte(gfn % 251); });
}

BOOST_AUTO_TEST_CASE(the_least_recently_used_makes_room) {
  PageCache cache(3);
  for (const Gfn gfn : {10, 20, 30}) fill(cache, cache.insert(gfn), gfn);
  cache.touch(cache.find(10));
  fill(cache, cache.insert(40), 40);
  BOOST_TEST(holds(cache, 10));
  BOOST_TEST(!holds(cache, 20));
  BOOST_TEST(holds(cache, 30));
  BOOST_TEST(holds(cache, 40));
  BOOST_TEST(cache.pages() == 3u);
}

BOOST_AUTO_TEST_CASE(what_is_erased_leaves_its_place_to_another) {
  PageCache cache(2);
  cache.insert(1);
  cache.insert(2);
  cache.erase(cache.find(2));
  BOOST_TEST(cache.find(2) == PageCache::kNone);
  cache.insert(3);
  BOOST_TEST(cache.find(1) != PageCache::kNone);
  BOOST_TEST(cache.pages() == 2u);
}

BOOST_AUTO_TEST_CASE(a_cache_of_no_pages_finds_nothing) {
  const PageCache cache(0);
  BOOST_TEST(cache.find(0) == PageCache::kNone);
}

BOOST_AUTO_TEST_CASE(a_cache_of_one_page) {
  PageCache cache(1);
  for (Gfn gfn = 0; gfn < 100; ++gfn) {
    fill(cache, cache.insert(gfn), gfn);
    BOOST_TEST(holds(cache, gfn));
    BOOST_TEST(cache.pages() == 1u);
  }
}

BOOST_AUTO_TEST_CASE(a_capacity_beyond_all_bounds_is_refused) {
  BOOST_CHECK_THROW(PageCache(PageCache::kCapacityMax + 1), Error);
  BOOST_CHECK_THROW(PageCache(~std::size_t{0}), Error);
}

// Few page numbers for the capacity, so that every call comes to every state; far apart and near.
void compare_with_list(std::size_t capacity, Gfn gfns, Gfn stride, unsigned seed) {
  std::mt19937_64 random(seed);
  PageCache cache(capacity);
  std::list<Gfn> model;  // newest first
  for (int i = 0; i < 20'000; ++i) {
    const Gfn gfn = random() % gfns * stride;
    const auto slot = cache.find(gfn);
    const auto in_model = std::find(model.begin(), model.end(), gfn);
    BOOST_REQUIRE((slot != PageCache::kNone) == (in_model != model.end()));
    if (slot == PageCache::kNone) {
      fill(cache, cache.insert(gfn), gfn);
      if (model.size() == capacity) model.pop_back();
      model.push_front(gfn);
      continue;
    }
    BOOST_REQUIRE(holds(cache, gfn));
    if (random() % 4 == 0) {
      cache.erase(slot);
      model.erase(in_model);
    } else {
      cache.touch(slot);
      model.splice(model.begin(), model, in_model);
    }
  }
  BOOST_TEST(cache.pages() == model.size());
  for (const Gfn gfn : model) BOOST_TEST(holds(cache, gfn));
}

BOOST_AUTO_TEST_CASE(random_use_is_as_a_list_has_it) {
  compare_with_list(1, 3, 1, 1);
  compare_with_list(7, 12, 1, 2);
  compare_with_list(64, 100, Gfn{1} << 40, 3);
  compare_with_list(300, 500, 512, 4);  // more than a slab
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::wire
