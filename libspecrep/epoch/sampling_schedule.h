#pragma once

#include <algorithm>
#include <optional>

#include "libspecrep/clock.h"
#include "libspecrep/model/policy.h"

namespace specrep::epoch {

// When inside an epoch the dirty log is read: at the distances finest, 2 * finest, 4 * finest, …
// before its end, up to the first that is no closer than `horizon`, as far as they lie in the
// epoch. What is clean shortly before the end most likely stays clean, so samples close in on it;
// a handful of them does what a hundred equal ones do (measured, doc/design.md). Slot i is the
// sample at finest * 2^i.
class SamplingSchedule {
 public:
  SamplingSchedule() = default;
  // No samples if finest is zero or more than half of the epoch; else one at least. The first one
  // comes `horizon` before the end or earlier, if the epoch has room for it.
  SamplingSchedule(TimePoint epoch_start, Duration length, Duration finest, Duration horizon)
      : end_(epoch_start + length), finest_(finest) {
    if (finest <= Duration::zero()) return;
    // A sample right at the start would tell what the checkpoint has just told.
    while (slots_left_ < model::kSlotsMax && distance(slots_left_) <= length - finest &&
           (slots_left_ == 0 || distance(slots_left_ - 1) < horizon))
      ++slots_left_;
    if (slots_left_ == 0) finest_ = {};
  }

  TimePoint end() const { return end_; }

  // The next sampling time, end() when none is left.
  TimePoint next() const { return slots_left_ == 0 ? end_ : at(slots_left_ - 1); }

  // The slot whose sample is due, if one is; due samples that were missed count as one.
  std::optional<model::Slot> take(TimePoint now) {
    std::optional<model::Slot> due;
    while (slots_left_ > 0 && at(slots_left_ - 1) <= now) due = --slots_left_;
    return due;
  }

  // For an epoch that goes on past its end: one more sample at once, and the end finest after it.
  // Nothing if the epoch is not sampled.
  void postpone(TimePoint now) {
    if (finest_ <= Duration::zero()) return;
    end_ = now + finest_;
    slots_left_ = 1;
  }

  // The epoch ends at once, without a further sample.
  void end_now(TimePoint now) {
    end_ = now;
    slots_left_ = 0;
  }

  // How many samples are still to come.
  unsigned slots_left() const { return slots_left_; }

 private:
  Duration distance(unsigned slot) const { return finest_ * (std::int64_t{1} << slot); }
  TimePoint at(unsigned slot) const { return end_ - distance(slot); }

  TimePoint end_{};
  Duration finest_{};  // zero: this epoch is not sampled
  unsigned slots_left_ = 0;
};

}  // namespace specrep::epoch
