#pragma once

#include <cstdint>
#include <optional>

#include "libspecrep/clock.h"
#include "libspecrep/epoch/sampling_schedule.h"
#include "libspecrep/model/policy.h"

namespace specrep::epoch {

// What sampling and speculating cost on this machine, measured as protection runs, and what
// follows from it: how densely an epoch may be sampled, and how many pages may be sent when.
class Costs {
 public:
  // The log was read and cleaned, which took `took`. `refaults`: pages in it that an earlier
  // sample of this epoch had cleaned, so that they cost the guest one write fault more than
  // without sampling.
  void sampled(Duration took, std::uint64_t refaults);

  // `pages` pages were copied, encoded to `bytes` bytes and queued, which took `took`.
  void sent(Duration took, std::uint64_t pages, std::uint64_t bytes);

  // The state of the link at this moment: all bytes ever queued on it, and those that still are.
  // Its rate is known only once it has been busy all the time between two looks.
  void link(TimePoint now, std::uint64_t queued_ever, std::uint64_t queued);

  // The distance of the last sample from the epoch's end: the shortest, down to kFinestMin, at
  // which all samples of an epoch of this length cost the guest at most kSamplingShareMax of its
  // time, and what is sent at the last one is sent before the end. Zero: none is worth it.
  Duration finest(Duration epoch_length) const;

  // What can be sent in the time given, and in the time after that.
  model::Budget budget(Duration now, Duration later, std::uint64_t queued) const;

  // 0 while unknown, bytes per second.
  double link_rate() const { return link_bytes_per_s_; }
  Duration sample_cost() const;

  // Of a whole epoch's time.
  static constexpr double kSamplingShareMax = 0.05;
  static constexpr Duration kFinestMin = std::chrono::milliseconds(1);
  // A write fault of a guest with hardware-assisted paging: the exit, the walk and change of the
  // page table entry, the way back (about 5,000 cycles; doc/results.md has it measured in the
  // lab's virtual time).
  static constexpr Duration kWriteFault = std::chrono::microseconds(2);

 private:
  // Weighs the newest of about eight measurements.
  struct Mean {
    double value = 0;
    bool known = false;
    void add(double sample) {
      value = known ? value + (sample - value) / 8 : sample;
      known = true;
    }
  };
  std::uint64_t pages_in(Duration time, std::uint64_t queued) const;

  Mean sample_ns_;
  Mean page_ns_;
  Mean page_bytes_;
  double link_bytes_per_s_ = 0;
  TimePoint looked_{};
  std::uint64_t carried_ = 0;
  bool was_busy_ = false;
};

}  // namespace specrep::epoch
