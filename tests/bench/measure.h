#pragma once

#include <benchmark/benchmark.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "libspecrep/guest/page.h"

namespace specrep::bench {

// Of this thread, so that who else uses the machine counts as little as it can.
inline double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

inline std::vector<std::byte> noise(std::size_t bytes, unsigned seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> data(bytes);
  for (std::size_t i = 0; i < bytes; i += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(data.data() + i, &word, sizeof word);
  }
  return data;
}

// Runs the benchmark's loop over `work`, and `copy`, a memcpy() of as many bytes, before and
// after it for as long: bytes_per_second is of the work, vs_memcpy how often memcpy()'s speed.
template <typename Work, typename Copy>
void against_memcpy(benchmark::State& state, std::size_t bytes, const Work& work,
                    const Copy& copy) {
  double copying = 0, copies = 0;
  const auto copy_for = [&](double seconds) {
    const double begun = cpu_seconds();
    double now;
    do {
      copy();
      ++copies;
      now = cpu_seconds();
    } while (now - begun < seconds);
    copying += now - begun;
  };
  copy();
  copy_for(0.05);
  double worked = 0;
  for (auto _ : state) {
    const double begun = cpu_seconds();
    work();
    worked += cpu_seconds() - begun;
  }
  copy_for(0.05);
  const auto rounds = static_cast<double>(state.iterations());
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
  state.counters["memcpy"] =
      benchmark::Counter(static_cast<double>(bytes) * copies / copying,
                         benchmark::Counter::kDefaults, benchmark::Counter::kIs1024);
  state.counters["vs_memcpy"] = (copying / copies) / (worked / rounds);
}

}  // namespace specrep::bench
