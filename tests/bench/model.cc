// What a sample costs by size of the guest and number of dirty pages: scanning Xen's bitmap, and
// model and policy. Memory bandwidth is measured in the same run.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>

#include "libspecrep/guest/page_bitmap.h"
#include "libspecrep/model/page_history.h"
#include "libspecrep/model/policy.h"

namespace {

using namespace specrep;

constexpr Gfn kGiB = Gfn{1} << 18;  // in pages
constexpr std::size_t kDirtyPages = 10'000;

std::vector<Gfn> random_pages(Gfn gfn_count, std::size_t count) {
  std::mt19937_64 random(7);
  std::vector<Gfn> pages(count);
  for (Gfn& gfn : pages) gfn = random() % gfn_count;
  std::sort(pages.begin(), pages.end());
  pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
  return pages;
}

// The limit: reading as many bytes as the bitmap has, once.
void BM_read_memory(benchmark::State& state) {
  std::vector<std::uint64_t> words(static_cast<std::size_t>(state.range(0)) * kGiB / 64, 1);
  for (auto _ : state) {
    std::uint64_t sum = 0;
    for (const auto word : words) sum += word;
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(words.size() * 8));
}
BENCHMARK(BM_read_memory)
    ->ArgName("GiB")
    ->Arg(1)
    ->Arg(64)
    ->Arg(1024)
    ->Unit(benchmark::kMicrosecond);

void BM_scan_bitmap(benchmark::State& state) {
  const Gfn gfn_count = static_cast<Gfn>(state.range(0)) * kGiB;
  PageBitmap bitmap(gfn_count);
  for (const Gfn gfn : random_pages(gfn_count, kDirtyPages)) bitmap.set(gfn);
  std::vector<Gfn> list;
  for (auto _ : state) {
    bitmap.list(list);
    benchmark::DoNotOptimize(list.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(gfn_count / 8));
}
BENCHMARK(BM_scan_bitmap)
    ->ArgName("GiB")
    ->Arg(1)
    ->Arg(64)
    ->Arg(1024)
    ->Unit(benchmark::kMicrosecond);

// A whole sample apart from the hypercall: scan, history, prediction, choice.
void sample(benchmark::State& state, model::PolicyKind kind) {
  const Gfn gfn_count = static_cast<Gfn>(state.range(0)) * kGiB;
  PageBitmap bitmap(gfn_count);
  const auto pages = random_pages(gfn_count, kDirtyPages);
  for (const Gfn gfn : pages) bitmap.set(gfn);
  const auto policy = model::make_policy({kind}, gfn_count);
  std::vector<Gfn> list, chosen;
  model::Slot slot = 8;
  for (auto _ : state) {
    bitmap.list(list);
    policy->sampled(slot, list);
    policy->choose(slot, list, model::kUnlimited, chosen);
    benchmark::DoNotOptimize(chosen.data());
    if (slot-- == 0) {
      // Learning is a part of what each sample costs.
      policy->ended(list);
      slot = 8;
    }
  }
  state.counters["per_dirty_page"] = benchmark::Counter(
      static_cast<double>(pages.size()),
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  state.counters["model_bytes_per_page"] = static_cast<double>(model::PageHistory::kBytesPerPage);
}
void BM_sample_adaptive(benchmark::State& state) { sample(state, model::PolicyKind::kAdaptive); }
void BM_sample_age(benchmark::State& state) { sample(state, model::PolicyKind::kAge); }
BENCHMARK(BM_sample_adaptive)
    ->ArgName("GiB")
    ->Arg(1)
    ->Arg(64)
    ->Arg(1024)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_sample_age)->ArgName("GiB")->Arg(1)->Arg(64)->Arg(1024)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
