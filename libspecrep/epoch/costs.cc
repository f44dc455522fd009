#include "libspecrep/epoch/costs.h"

#include <algorithm>

namespace specrep::epoch {

namespace {
double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
}  // namespace

void Costs::sampled(Duration took, std::uint64_t refaults) {
  reading_ns_.add(static_cast<double>(took.count()));
  epoch_cost_ += took + write_fault_ * static_cast<std::int64_t>(refaults);
  ++epoch_samples_;
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

void Costs::ended(Duration length, std::uint64_t written_pages) {
  const double allowed = kSamplingShareMax * static_cast<double>(length.count());
  const auto cost = static_cast<double>(epoch_cost_.count());
  if (epoch_samples_ == 0) {
    if (++epochs_without_samples_ >= kEpochsUntilTry) reading_ns_ = {};
  } else {
    epochs_without_samples_ = 0;
  }
  if (cost > allowed) {
    if (horizon_ > least_horizon())
      horizon_ = std::min(horizon_, length) / 2;
    else
      finest_ = std::min(finest_ * 2, length / 2);
  } else if (epoch_samples_ > 0 && cost < allowed / 2) {
    if (finest_ > kFinestMin)
      finest_ = std::max(finest_ / 2, kFinestMin);
    else if (horizon_ < length)
      horizon_ *= 2;
  }

  const auto pages = static_cast<double>(written_pages);
  double sending = page_ns_.value * pages;
  if (link_bytes_per_s_ > 0)
    sending = std::max(sending, page_bytes_.value * pages / link_bytes_per_s_ * 1e9);
  sending_ns_.add(sending);
  epoch_cost_ = {};
  epoch_samples_ = 0;
}

Duration Costs::finest(Duration epoch_length) const {
  if (reading_ns_.value > kReadingShareMax * static_cast<double>(epoch_length.count())) return {};
  // The log itself must be read well before the end.
  const Duration least =
      std::max(finest_, Duration(static_cast<Duration::rep>(2 * reading_ns_.value)));
  return std::min(least, epoch_length / 2);
}

Duration Costs::horizon() const { return std::max(horizon_, least_horizon()); }

Duration Costs::least_horizon() const {
  // Two samples before the last one tell the model what it needs.
  return std::max(4 * finest_, Duration(static_cast<Duration::rep>(2 * sending_ns_.value)));
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
