// Copying the residual aside while the guest is stopped: pages scattered over the guest's
// memory, each 4 KiB, against memcpy() of as much in one piece. Both read memory that is in no
// cache.

#include <algorithm>
#include <numeric>

#include "tests/bench/measure.h"

namespace specrep::bench {
namespace {

constexpr std::size_t kGuestPages = 65536;  // 256 MiB: beyond every cache

const std::vector<std::byte>& guest_memory() {
  static const auto memory = noise(kGuestPages * kPageBytes, 1);
  return memory;
}

void copy_page(const std::byte* page, const std::byte*, std::byte* out) {
  std::memcpy(out, page, kPageBytes);
}

// The processor's own prefetching ends at a page's end.
void copy_page_and_prefetch_next(const std::byte* page, const std::byte* next, std::byte* out) {
  for (std::size_t at = 0; at < kPageBytes; at += 256) {
    for (std::size_t line = 0; line < 256; line += 64) __builtin_prefetch(next + at + line);
    std::memcpy(out + at, page + at, 256);
  }
}

template <typename CopyPage>
void capture(benchmark::State& state, const CopyPage& copy_page) {
  const auto& memory = guest_memory();
  const auto count = static_cast<std::size_t>(state.range(0));
  // Residuals that share no page, one after the other, so that none is found in a cache.
  std::vector<Gfn> all(kGuestPages);
  std::iota(all.begin(), all.end(), Gfn{0});
  std::shuffle(all.begin(), all.end(), std::mt19937_64(2));
  const std::size_t residuals = kGuestPages / count;
  for (std::size_t i = 0; i < residuals; ++i)
    std::sort(all.begin() + static_cast<std::ptrdiff_t>(i * count),
              all.begin() + static_cast<std::ptrdiff_t>((i + 1) * count));

  std::vector<std::byte> arena(count * kPageBytes, std::byte{1});
  std::size_t turn = 0, copy_turn = 0;
  against_memcpy(
      state, count * kPageBytes,
      [&] {
        const Gfn* gfns = all.data() + turn++ % residuals * count;
        for (std::size_t i = 0; i < count; ++i)
          copy_page(memory.data() + gfns[i] * kPageBytes,
                    memory.data() + gfns[std::min(i + 1, count - 1)] * kPageBytes,
                    arena.data() + i * kPageBytes);
        benchmark::ClobberMemory();
      },
      [&] {
        std::memcpy(arena.data(), memory.data() + copy_turn++ % residuals * count * kPageBytes,
                    count * kPageBytes);
        benchmark::ClobberMemory();
      });
}
void scattered(benchmark::State& state) { capture(state, copy_page); }
void scattered_prefetched(benchmark::State& state) { capture(state, copy_page_and_prefetch_next); }

BENCHMARK(scattered)->RangeMultiplier(4)->Range(64, 16384)->ArgName("pages");
BENCHMARK(scattered_prefetched)->RangeMultiplier(4)->Range(64, 16384)->ArgName("pages");

}  // namespace
}  // namespace specrep::bench

BENCHMARK_MAIN();
