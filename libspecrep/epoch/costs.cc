#include "libspecrep/epoch/costs.h"

#include <algorithm>
#include <cmath>

namespace specrep::epoch {

namespace {
double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
}  // namespace

void Costs::sampled(Duration took, std::uint64_t refaults) {
  reading_ns_.add(static_cast<double>(took.count()));
  epoch_reading_ += took;
  epoch_faults_ += write_fault_ * static_cast<std::int64_t>(refaults);
  ++epoch_samples_;
}

void Costs::sent(model::Slot slot, Duration took, std::uint64_t pages, std::uint64_t bytes) {
  // One page by itself says more about the call than about pages.
  constexpr std::uint64_t kPagesMin = 16;
  if (pages == 0 || (pages < kPagesMin && any_page_.ns.known)) return;
  const auto count = static_cast<double>(pages);
  for (PageCost* cost : {&any_page_, &page_[std::min(slot, model::kSlotsMax - 1)]}) {
    cost->ns.add(static_cast<double>(took.count()) / count);
    cost->bytes.add(static_cast<double>(bytes) / count);
  }
}

void Costs::link(TimePoint now, std::uint64_t queued_ever, std::uint64_t queued) {
  const std::uint64_t carried = queued_ever - queued;
  if (busy_since_ && queued > 0) {
    if (now - *busy_since_ < kLookMin) return;
    // What is queued has headers that queued_ever does not count.
    const auto more = static_cast<std::int64_t>(carried - carried_);
    const double rate = std::max(0.0, static_cast<double>(more)) / seconds(now - *busy_since_);
    link_bytes_per_s_ =
        link_bytes_per_s_ == 0 ? rate : link_bytes_per_s_ + (rate - link_bytes_per_s_) / 4;
  }
  busy_since_ = now;
  carried_ = carried;
}

void Costs::ended(Duration length, std::uint64_t written_pages, std::uint64_t early_pages,
                  std::uint64_t early_bytes) {
  if (epoch_samples_ == 0) {
    if (++epochs_without_samples_ >= kEpochsUntilTry) reading_ns_ = {};
  } else {
    epochs_without_samples_ = 0;
  }
  judged_.reading += epoch_reading_;
  judged_.faults += epoch_faults_;
  judged_.length += length;
  judged_.samples += epoch_samples_;
  if (++judged_.epochs == kEpochsJudged) {
    judge(length);
    judged_ = {};
  }

  const auto pages = static_cast<double>(written_pages);
  // When a good part of an epoch would not do to encode all its pages, most are left to its end.
  double sending = std::min(any_page_.ns.value * pages, static_cast<double>(length.count()) / 8);
  const double page_bytes =
      early_pages > 0 ? static_cast<double>(early_bytes) / static_cast<double>(early_pages)
                      : any_page_.bytes.value;
  if (link_bytes_per_s_ > 0)
    sending = std::max(sending, page_bytes * pages / link_bytes_per_s_ * 1e9);
  // Where nearly all was sent in vain, a page is reckoned as too much.
  sending = std::min(sending, static_cast<double>(length.count()));
  sending_ns_.add(sending);
  // Epochs differ, and one that has too little time leaves much to its checkpoint.
  sending_ns_.value = std::max(sending_ns_.value, sending);
  epoch_reading_ = epoch_faults_ = {};
  epoch_samples_ = 0;
}

void Costs::judge(Duration length) {
  const double allowed = kSamplingShareMax * static_cast<double>(judged_.length.count());
  const auto reading = static_cast<double>(judged_.reading.count());
  const double cost = reading + static_cast<double>(judged_.faults.count());
  if (cost > allowed) {
    if (horizon_ > least_horizon())
      horizon_ = std::min(horizon_, length) / 2;
    else if (reading > allowed)
      finest_ = std::min(finest_ * 2, length / 2);
    else if (cost > 2 * allowed)
      for_link_max_ = std::min(least_horizon(), length) / 2;
  } else if (judged_.samples > 0) {
    for_link_max_ = std::min(for_link_max_ * 2, kNoHorizon);
    if (cost < allowed / 2) {
      if (finest_ > kFinestMin)
        finest_ = std::max(finest_ / 2, kFinestMin);
      else if (horizon_ < length)
        horizon_ *= 2;
    }
  }
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
  const Duration for_link(static_cast<Duration::rep>(2 * sending_ns_.value));
  return std::max(4 * finest_, std::min(for_link, for_link_max_));
}

std::uint64_t Costs::pages_in(model::Slot slot, Duration time, std::uint64_t queued,
                              double least_bytes) const {
  const PageCost& own = page_[std::min(slot, model::kSlotsMax - 1)];
  const PageCost& page = own.ns.known ? own : any_page_;
  double pages = static_cast<double>(model::kUnlimited);
  if (page.ns.known && page.ns.value > 0) pages = static_cast<double>(time.count()) / page.ns.value;
  const double page_bytes = std::max(page.bytes.value, least_bytes);
  if (link_bytes_per_s_ > 0 && page_bytes > 0) {
    const double bytes = link_bytes_per_s_ * seconds(time) - static_cast<double>(queued);
    pages = std::min(pages, bytes / page_bytes);
  }
  // What there is any room for is tried: only so is a wrong idea of it put right.
  return static_cast<std::uint64_t>(std::ceil(std::max(0.0, pages)));
}

}  // namespace specrep::epoch
