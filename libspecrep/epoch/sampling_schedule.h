#pragma once

#include <array>

#include "libspecrep/clock.h"

namespace specrep::epoch {

// When inside an epoch the dirty log is read: at these shares of the epoch's length, denser
// towards its end, since what is clean shortly before the end most likely stays clean (a
// handful of samples that close in on the end do what a hundred equal ones do; measured,
// doc/design.md). Fixed until a dirtiness model is there to pay for more of them.
inline constexpr std::array<double, 4> kSampleShares = {0.5, 0.75, 0.875, 0.9375};

// The times to sample at in one epoch, in order.
class SamplingSchedule {
 public:
  SamplingSchedule(TimePoint epoch_start, Duration epoch_length)
      : start_(epoch_start), length_(epoch_length) {}

  TimePoint end() const { return start_ + length_; }

  // The next sampling time, end() when none is left.
  TimePoint next() const {
    return next_ < kSampleShares.size() ? at(kSampleShares[next_]) : end();
  }

  // Whether a sample is due; due samples that were missed count as one.
  bool take(TimePoint now) {
    bool due = false;
    while (next_ < kSampleShares.size() && at(kSampleShares[next_]) <= now) {
      due = true;
      ++next_;
    }
    return due;
  }

 private:
  TimePoint at(double share) const {
    return start_ + Duration(static_cast<Duration::rep>(static_cast<double>(length_.count()) * share));
  }

  TimePoint start_;
  Duration length_;
  std::size_t next_ = 0;
};

}  // namespace specrep::epoch
