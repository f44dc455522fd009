#pragma once

#include <cstdint>

#include "libspecrep/clock.h"

namespace specrep::sim {

// Everything that happens by chance comes from here (splitmix64, Steele et al. 2014): the same on
// every machine, unlike the distributions of the standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  bool chance(double share) { return static_cast<double>(next() >> 11) * 0x1p-53 < share; }
  Duration between(Duration least, Duration most) {
    return least + Duration(static_cast<std::int64_t>(
                       below(static_cast<std::uint64_t>((most - least).count()) + 1)));
  }
  template <typename List>
  const auto& one_of(const List& list) {
    return *(list.begin() + static_cast<std::ptrdiff_t>(below(list.size())));
  }

 private:
  std::uint64_t state_;
};

}  // namespace specrep::sim
