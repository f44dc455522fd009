#include "tools/figures.h"

#include <algorithm>
#include <cmath>

namespace specrep::tools {

namespace {

using nlohmann::json;

double per(double sum, std::uint64_t count) {
  return count ? rounded(sum / static_cast<double>(count)) : 0;
}
double per(std::uint64_t sum, std::uint64_t count) { return per(static_cast<double>(sum), count); }
double per(Duration sum, std::uint64_t count) { return per(milliseconds(sum), count); }

double seconds(Duration d) { return rounded(milliseconds(d) / 1000); }

}  // namespace

double rounded(double value) { return std::round(value * 1e4) / 1e4; }

Figures::Sums Figures::Sums::operator-(const Sums& earlier) const {
  Sums difference = *this;
  difference.Totals::operator-=(earlier);
  difference.commits -= earlier.commits;
  difference.wire_bytes -= earlier.wire_bytes;
  difference.first_copy_bytes -= earlier.first_copy_bytes;
  difference.length -= earlier.length;
  difference.sampling -= earlier.sampling;
  difference.lag -= earlier.lag;
  difference.pause -= earlier.pause;
  difference.suspend -= earlier.suspend;
  difference.capture_memory -= earlier.capture_memory;
  difference.capture_state -= earlier.capture_state;
  difference.resume -= earlier.resume;
  return difference;
}

void Figures::checkpoint(const epoch::EpochReport& report) {
  const Duration pause = report.paused() - report.verify;
  sums_ += report;
  sums_.wire_bytes += report.wire_bytes();
  sums_.length += report.length;
  sums_.sampling += report.sampling;
  sums_.pause += pause;
  sums_.suspend += report.suspend;
  sums_.capture_memory += report.capture_memory;
  sums_.capture_state += report.capture_state;
  sums_.resume += report.resume;
  pause_max_ = std::max(pause_max_, pause);
}

void Figures::commit(Duration lag) {
  ++sums_.commits;
  sums_.lag += lag;
}

json Figures::means() const {
  const Sums& s = sums_;
  const double stopped = milliseconds(s.pause), ran = milliseconds(s.length);
  return {{"pages_per_epoch", per(s.written_pages, s.epochs)},
          {"bytes_per_epoch", per(s.wire_bytes, s.epochs)},
          {"residual_pages_per_epoch", per(s.residual_pages, s.epochs)},
          {"residual_bytes_per_epoch", per(s.residual_bytes, s.epochs)},
          {"speculative_pages_per_epoch", per(s.speculative_pages, s.epochs)},
          {"speculative_bytes_per_epoch", per(s.speculative_bytes, s.epochs)},
          {"wasted_pages_per_epoch", per(s.wasted_pages, s.epochs)},
          {"wasted_bytes_per_epoch", per(s.wasted_bytes, s.epochs)},
          {"samples_per_epoch", per(s.samples, s.epochs)},
          {"sampling_ms", per(s.sampling, s.epochs)},
          {"codecs", codecs(s.codecs)},
          {"epoch_ms", per(s.length, s.epochs)},
          {"pause_ms", per(s.pause, s.epochs)},
          {"pause_ms_max", rounded(milliseconds(pause_max_))},
          {"suspend_ms", per(s.suspend, s.epochs)},
          {"capture_memory_ms", per(s.capture_memory, s.epochs)},
          {"capture_state_ms", per(s.capture_state, s.epochs)},
          {"resume_ms", per(s.resume, s.epochs)},
          {"stopped_share", rounded(stopped / std::max(1.0, stopped + ran))},
          {"lag_ms", per(s.lag, s.commits)}};
}

json Figures::sums() const {
  const Sums& s = sums_;
  return {{"epochs", s.epochs},
          {"commits", s.commits},
          {"run_s", seconds(s.length)},
          {"pause_s", seconds(s.pause)},
          {"suspend_s", seconds(s.suspend)},
          {"capture_s", seconds(s.capture_memory + s.capture_state)},
          {"resume_s", seconds(s.resume)},
          {"sampling_s", seconds(s.sampling)},
          {"lag_s", seconds(s.lag)},
          {"written_pages", s.written_pages},
          {"residual_pages", s.residual_pages},
          {"speculative_pages", s.speculative_pages},
          {"wasted_pages", s.wasted_pages},
          {"first_copy_bytes", s.first_copy_bytes},
          {"wire_bytes", s.first_copy_bytes + s.wire_bytes}};
}

json Figures::recent(TimePoint now) {
  while (recent_.size() > 1 && now - recent_[1].at >= kRecent &&
         recent_[1].sums.epochs < sums_.epochs)
    recent_.pop_front();
  json figures = between(recent_.front(), {now, sums_});
  recent_.push_back({now, sums_});
  return figures;
}

json Figures::since_logged(TimePoint now) {
  const Noted noted{now, sums_};
  json figures = between(logged_, noted);
  figures["codecs"] = codecs((sums_ - logged_.sums).codecs);
  logged_ = noted;
  return figures;
}

json Figures::between(const Noted& earlier, const Noted& now) {
  const Sums s = now.sums - earlier.sums;
  const double span_s = milliseconds(now.at - earlier.at) / 1000;
  const double delay_ms = per(s.length + s.pause, s.epochs) + per(s.lag, s.commits);
  return {
      {"seconds", rounded(span_s)},
      {"epochs", s.epochs},
      {"epoch_ms", per(s.length, s.epochs)},
      {"pause_ms", per(s.pause, s.epochs)},
      {"suspend_ms", per(s.suspend, s.epochs)},
      {"capture_ms", per(s.capture_memory + s.capture_state, s.epochs)},
      {"resume_ms", per(s.resume, s.epochs)},
      {"lag_ms", per(s.lag, s.commits)},
      {"output_delay_ms", rounded(delay_ms)},
      {"written_pages", per(s.written_pages, s.epochs)},
      {"residual_pages", per(s.residual_pages, s.epochs)},
      {"residual_bytes", per(s.residual_bytes, s.epochs)},
      {"speculative_pages", per(s.speculative_pages, s.epochs)},
      {"wasted_pages", per(s.wasted_pages, s.epochs)},
      {"wasted_bytes", per(s.wasted_bytes, s.epochs)},
      {"bytes_per_s",
       span_s > 0 ? rounded(static_cast<double>(s.first_copy_bytes + s.wire_bytes) / span_s) : 0}};
}

json Figures::codecs(const wire::CodecCounters& counters) {
  json all = json::object();
  for (std::size_t i = 0; i < wire::kPageEncodings; ++i)
    all[wire::encoding_name(i)] = {{"pages", counters.pages[i]}, {"bytes", counters.bytes[i]}};
  return all;
}

}  // namespace specrep::tools
