#pragma once

#include <chrono>

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

inline double milliseconds(Duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

}  // namespace specrep
