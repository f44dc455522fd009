#pragma once

#include <deque>
#include <nlohmann/json.hpp>

#include "libspecrep/clock.h"
#include "libspecrep/epoch/totals.h"

namespace specrep::tools {

// To four digits behind the point, so that a share keeps as many as people read.
double rounded(double value);

// The counters of one protection: sums over its epochs, from which all that is shown is made: means
// since the start, those of the last seconds, and what a monitoring system takes rates of.
class Figures {
 public:
  explicit Figures(TimePoint started) : recent_(1, {started, {}}), logged_{started, {}} {}

  void first_copy(std::uint64_t wire_bytes) { sums_.first_copy_bytes = wire_bytes; }
  // An epoch's checkpoint was queued. The first one ends the first copy and is not to be given.
  void checkpoint(const epoch::EpochReport& report);
  // From the guest's resumption until the commit of that epoch came in.
  void commit(Duration lag);

  std::uint64_t epochs() const { return sums_.epochs; }

  // Means per epoch since the start; the keys are those of `xl remus-spec-list --json`.
  nlohmann::json means() const;
  // Sums since the start, in seconds, bytes, pages and numbers of things.
  nlohmann::json sums() const;
  // Means per epoch of the last kRecent, or of the last epoch if that is longer ago; `seconds` is
  // the time that they are of. To be called as often as it is published: it takes note of the
  // figures of now.
  nlohmann::json recent(TimePoint now);
  // The same since the last call of this, for the event log; with pages and bytes by encoding.
  nlohmann::json since_logged(TimePoint now);

  static constexpr Duration kRecent = std::chrono::seconds(5);

 private:
  struct Sums : epoch::Totals {
    Sums operator-(const Sums& earlier) const;
    std::uint64_t commits = 0, wire_bytes = 0, first_copy_bytes = 0;
    Duration length{}, sampling{}, lag{};
    Duration pause{}, suspend{}, capture_memory{}, capture_state{}, resume{};
  };
  struct Noted {
    TimePoint at;
    Sums sums;
  };
  static nlohmann::json between(const Noted& earlier, const Noted& now);
  static nlohmann::json codecs(const wire::CodecCounters& counters);

  Sums sums_;
  Duration pause_max_{};
  std::deque<Noted> recent_;  // oldest first, never empty
  Noted logged_;
};

}  // namespace specrep::tools
