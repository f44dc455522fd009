#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "libspecrep/model/policy.h"

namespace specrep::model {

// How often a page with a given past, seen at a given slot, was written again before the end of
// its epoch: the second level of a two-level adaptive predictor (Yeh and Patt, "Two-Level
// Adaptive Training Branch Prediction", MICRO 1991), with probabilities in place of saturating
// counters, because the policy has to put pages in order. Learned from the guest as it runs;
// there is nothing to tune for a workload. 32 KiB.
class Predictor {
 public:
  // Between 0 and 1. A pattern that was hardly seen yet is taken for the average of its slot, but
  // never for one that is written again more often than not: to send it once tells more.
  float written_again(Slot slot, std::uint8_t pattern) const {
    const Cell& cell = cells_[slot][pattern];
    const float prior = std::min(averages_[slot].share, 0.5f);
    return (cell.seen * cell.share + kPriorWeight * prior) / (cell.seen + kPriorWeight);
  }

  void learn(Slot slot, std::uint8_t pattern, bool again) {
    cells_[slot][pattern].learn(again);
    averages_[slot].learn(again);
  }

 private:
  static constexpr float kPriorWeight = 2;
  // Half of what a cell says is younger than about 0.7 times this many pages: enough for an
  // accuracy of some percent, and soon forgotten when the guest changes its ways.
  static constexpr float kWindow = 1024;

  struct Cell {
    float share = 0.5f;
    float seen = 0;
    void learn(bool again) {
      if (seen < kWindow) ++seen;
      share += ((again ? 1.0f : 0.0f) - share) / seen;
    }
  };
  std::array<std::array<Cell, 256>, kSlotsMax> cells_{};
  std::array<Cell, kSlotsMax> averages_{};
};

}  // namespace specrep::model
