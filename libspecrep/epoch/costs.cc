#include "libspecrep/epoch/costs.h"

#include <algorithm>
#include <cmath>

namespace specrep::epoch {

namespace {
double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
}  // namespace

void Costs::sampled(Duration took, std::uint64_t refaults) {
  sample_ns_.add(static_cast<double>(took.count()) +
                 static_cast<double>(kWriteFault.count()) * static_cast<double>(refaults));
}

void Costs::sent(Duration took, std::uint64_t pages, std::uint64_t bytes) {
  if (pages == 0) return;
  const auto count = static_cast<double>(pages);
  // One page by itself says more about the call than about pages.
  constexpr std::uint64_t kPagesMin = 16;
  if (pages >= kPagesMin || !page_ns_.known) {
    page_ns_.add(static_cast<double>(took.count()) / count);
    page_bytes_.add(static_cast<double>(bytes) / count);
  }
}

void Costs::link(TimePoint now, std::uint64_t queued_ever, std::uint64_t queued) {
  const std::uint64_t carried = queued_ever - queued;
  const bool busy = queued > 0;
  if (busy && was_busy_ && now > looked_) {
    const double rate = static_cast<double>(carried - carried_) / seconds(now - looked_);
    link_bytes_per_s_ =
        link_bytes_per_s_ == 0 ? rate : link_bytes_per_s_ + (rate - link_bytes_per_s_) / 4;
  }
  looked_ = now;
  carried_ = carried;
  was_busy_ = busy;
}

Duration Costs::sample_cost() const {
  return Duration(static_cast<Duration::rep>(sample_ns_.value));
}

Duration Costs::finest(Duration epoch_length) const {
  const double length = static_cast<double>(epoch_length.count());
  // The last sample itself must be over well before the end.
  double finest = std::max(static_cast<double>(kFinestMin.count()), 2 * sample_ns_.value);
  // Samples at finest * 2^i, see SamplingSchedule: their number falls by one when finest doubles.
  while (finest < length / 2) {
    const double samples = std::floor(std::log2(length / finest - 1)) + 1;
    if (samples * sample_ns_.value <= kSamplingShareMax * length) break;
    finest *= 2;
  }
  if (finest >= length / 2) {
    // A single one in the middle, if at least that pays.
    if (sample_ns_.value > kSamplingShareMax * length) return Duration::zero();
    finest = length / 2;
  }
  return Duration(static_cast<Duration::rep>(finest));
}

std::uint64_t Costs::pages_in(Duration time, std::uint64_t queued) const {
  double pages = static_cast<double>(model::kUnlimited);
  if (page_ns_.known && page_ns_.value > 0)
    pages = static_cast<double>(time.count()) / page_ns_.value;
  if (link_bytes_per_s_ > 0 && page_bytes_.value > 0) {
    const double bytes = link_bytes_per_s_ * seconds(time) - static_cast<double>(queued);
    pages = std::min(pages, std::max(0.0, bytes) / page_bytes_.value);
  }
  return static_cast<std::uint64_t>(pages);
}

model::Budget Costs::budget(Duration now, Duration later, std::uint64_t queued) const {
  const std::uint64_t until_next = pages_in(now, queued);
  if (until_next >= model::kUnlimited) return {until_next, model::kUnlimited};
  const std::uint64_t until_end = pages_in(now + later, queued);
  return {until_next, until_end > until_next ? until_end - until_next : 0};
}

}  // namespace specrep::epoch
