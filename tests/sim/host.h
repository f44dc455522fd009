#pragma once

#include <string>

#include "libspecrep/clock.h"

namespace specrep::sim {

// One of the two machines. Its clocks are its own: the steady one runs at its own rate, the wall
// clock is set as somebody likes.
struct Host {
  Host(int number, double rate) : number(number), rate(rate) {}

  const int number;  // 0 or 1
  const std::string name = number == 0 ? "xen1" : "xen2";
  const double rate;  // of its steady clock: 1 is true
  ManualClock clock;
  std::int64_t wall_clock_off_us = 0;
  bool powered = true;

  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  void move_clock(TimePoint true_now) {
    clock.advance_to(kStart + scaled(true_now - kStart, rate));
  }
  // When it is `time` here, in true time.
  TimePoint true_time(TimePoint time) const { return kStart + scaled(time - kStart, 1 / rate); }
  Duration true_duration(Duration d) const { return scaled(d, 1 / rate); }

 private:
  static constexpr TimePoint kStart{std::chrono::hours(1)};
  static Duration scaled(Duration d, double factor) {
    return Duration(static_cast<std::int64_t>(static_cast<double>(d.count()) * factor) + 1);
  }
};

}  // namespace specrep::sim
