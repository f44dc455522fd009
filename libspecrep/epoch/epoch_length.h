#pragma once

#include <optional>

#include "libspecrep/clock.h"

namespace specrep::epoch {

// How long epochs are to be: always the same, or as it takes to reach a target.
struct EpochTarget {
  // The length, or with a target the first one.
  Duration length = std::chrono::milliseconds(200);
  // Output waits at most this long, from when the guest hands it out at the start of an epoch
  // until its commit: epoch, checkpoint and the way to the backup and back.
  std::optional<Duration> max_delay{};
  // The guest is stopped, or slowed by sampling, for at most this share of the time.
  std::optional<double> max_overhead{};
};

// Works out each epoch's length from what the epochs before it cost. With both targets the
// delay goes first: overhead then only keeps epochs from being shorter than the delay allows.
class EpochLength {
 public:
  static constexpr Duration kMin = std::chrono::milliseconds(10);
  static constexpr Duration kMax = std::chrono::seconds(60);

  explicit EpochLength(EpochTarget target);

  Duration length() const { return length_; }

  // An epoch is over: the guest was stopped for `paused`, and slowed by what its samples cost.
  void paused(Duration paused, Duration sampling);
  // A commit came in, so long after the guest had been resumed.
  void committed(Duration lag);

 private:
  void adapt();

  EpochTarget target_;
  Duration length_;
  // The worst of late, since a delay that holds on average is broken half of the time: rises at
  // once, falls by an eighth of the distance an epoch.
  double pause_ns_ = 0, sampling_ns_ = 0, lag_ns_ = 0;
};

}  // namespace specrep::epoch
