#pragma once

#include <chrono>
#include <cstdint>

namespace specrep {

using Duration = std::chrono::nanoseconds;
// Nanoseconds on a clock that never steps back. Only differences mean anything.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

// Where the core gets the time from, so that a simulation can hand it a clock of its own.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
};

class SteadyClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
};

// Stands still until it is moved: for replays and simulations.
class ManualClock final : public Clock {
 public:
  TimePoint now() const override { return now_; }
  void advance(Duration d) { now_ += d; }
  // Never back.
  void advance_to(TimePoint t) {
    if (t > now_) now_ = t;
  }

 private:
  // Not zero, which some take for "never".
  TimePoint now_{std::chrono::hours(1)};
};

// Whole ones; 0 for a negative duration.
inline std::uint64_t microseconds(Duration d) {
  return d < Duration::zero() ? 0 : static_cast<std::uint64_t>(d.count()) / 1000;
}

inline double milliseconds(Duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

}  // namespace specrep
