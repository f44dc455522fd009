#pragma once

#include <array>
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
  // write_fault: see guest::Guest::write_fault().
  explicit Costs(Duration write_fault = std::chrono::microseconds(2)) : write_fault_(write_fault) {}

  // The log was read and cleaned, which took `took`. `refaults`: pages in it that an earlier
  // sample of this epoch had cleaned, so that they cost the guest one write fault more than
  // without sampling.
  void sampled(Duration took, std::uint64_t refaults);

  // At that slot `pages` pages were copied, encoded to `bytes` bytes and queued, which took `took`.
  void sent(model::Slot slot, Duration took, std::uint64_t pages, std::uint64_t bytes);

  // The state of the link at this moment: all bytes ever queued on it, and those that still are.
  // To be told before anything is queued, too: what is found queued then has kept the link busy
  // ever since the look before, and only a link that is busy shows its rate.
  void link(TimePoint now, std::uint64_t queued_ever, std::uint64_t queued);

  // An epoch that lasted so long is over, in which so many pages were dirtied. What its samples
  // cost moves finest(), and what sending all these pages would take moves horizon(), if so many
  // of them as `early_pages` took `early_bytes` bytes before its end, all versions counted.
  void ended(Duration length, std::uint64_t written_pages, std::uint64_t early_pages,
             std::uint64_t early_bytes);

  // The distance of the last sample from the epoch's end. Zero: reading the log takes more than
  // kReadingShareMax of an epoch, so that it is left alone, but for a try now and then.
  Duration finest(Duration epoch_length) const;

  // How long before the epoch's end its first sample is to be. What is sampled early is written
  // again all the more often, and each sample brings back a write fault for every page that is.
  //
  // Both follow what the samples of the epochs before cost the guest. As long as that is far less
  // than kSamplingShareMax of its time, the last sample comes closer to the end, down to
  // kFinestMin, and then the first one earlier. When it is more, the first one comes later, but
  // leaves twice the time that it takes to send the pages of an epoch: a link that stands still
  // until then is full when it matters. If it is more even so, and it is reading the log that
  // costs it, the last sample comes earlier, so that there are fewer. If it is write faults, these
  // are the early samples', and the link is left less time when they cost twice as much.
  Duration horizon() const;

  // How many pages of those that are sent at that slot can be sent in the time given, behind what
  // is queued, if they take `least_bytes` bytes each on the link or more.
  std::uint64_t pages_in(model::Slot slot, Duration time, std::uint64_t queued,
                         double least_bytes = 0) const;

  // 0 while unknown, bytes per second.
  double link_rate() const { return link_bytes_per_s_; }
  // Of this epoch's samples so far: the log, and the write faults that they brought.
  Duration sample_cost() const { return epoch_reading_ + epoch_faults_; }

  // So many epochs are judged together: one in which the guest writes more than usual costs more,
  // and is followed by others that need their first sample all the earlier.
  static constexpr unsigned kEpochsJudged = 4;
  // Of an epoch's time.
  static constexpr double kSamplingShareMax = 0.05;
  // One sample is taken even if it costs more, since the first one saves most; up to here.
  static constexpr double kReadingShareMax = 0.2;
  // So many epochs without a sample are followed by one with.
  static constexpr unsigned kEpochsUntilTry = 16;
  static constexpr Duration kFinestMin = std::chrono::milliseconds(1);
  // For so long a link has to be busy to show its rate.
  static constexpr Duration kLookMin = std::chrono::milliseconds(2);

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
  void judge(Duration length);
  Duration least_horizon() const;

  Duration write_fault_;
  Mean reading_ns_;  // the log
  Duration epoch_reading_{}, epoch_faults_{};
  // The epochs since finest and horizon were last judged.
  struct {
    Duration reading{}, faults{}, length{};
    unsigned samples = 0, epochs = 0;
  } judged_;
  unsigned epoch_samples_ = 0;
  unsigned epochs_without_samples_ = 0;
  Mean sending_ns_;  // all pages of an epoch
  Duration finest_ = kFinestMin;
  static constexpr Duration kNoHorizon = std::chrono::hours(1);  // all of the epoch
  Duration horizon_ = kNoHorizon;
  // No more of it is kept for the link's sake.
  Duration for_link_max_ = kNoHorizon;
  // What sending a page takes depends on the slot: those that are sent late were mostly sent a
  // moment before, and go as small differences.
  struct PageCost {
    Mean ns, bytes;
  };
  PageCost any_page_;
  std::array<PageCost, model::kSlotsMax> page_;
  double link_bytes_per_s_ = 0;
  // Since when the link has been busy, or the last look; what it had carried then.
  std::optional<TimePoint> busy_since_;
  std::uint64_t carried_ = 0;
};

}  // namespace specrep::epoch
