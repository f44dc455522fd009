#pragma once

#include <cstdint>

#include "libspecrep/epoch/primary_engine.h"

namespace specrep::epoch {

// The sum over epochs. Bytes as EpochReport has them.
struct Totals {
  std::uint64_t epochs = 0;
  std::uint64_t written_pages = 0;
  std::uint64_t residual_pages = 0, residual_bytes = 0;
  std::uint64_t speculative_pages = 0, speculative_bytes = 0;
  std::uint64_t wasted_pages = 0, wasted_bytes = 0;
  std::uint64_t samples = 0;
  wire::CodecCounters codecs;

  // What Remus sends at the end of its epochs: each page that was written, whole.
  std::uint64_t remus_bytes() const { return written_pages * kPageBytes; }
  std::uint64_t total_bytes() const { return residual_bytes + speculative_bytes; }

  Totals& operator+=(const EpochReport& report) {
    ++epochs;
    written_pages += report.written_pages;
    residual_pages += report.residual_pages;
    residual_bytes += report.residual_bytes;
    speculative_pages += report.speculative_pages;
    speculative_bytes += report.speculative_bytes;
    wasted_pages += report.wasted_pages;
    wasted_bytes += report.wasted_bytes;
    samples += report.samples;
    codecs += report.codecs;
    return *this;
  }
  // `earlier`: as these were before.
  Totals& operator-=(const Totals& earlier) {
    epochs -= earlier.epochs;
    written_pages -= earlier.written_pages;
    residual_pages -= earlier.residual_pages;
    residual_bytes -= earlier.residual_bytes;
    speculative_pages -= earlier.speculative_pages;
    speculative_bytes -= earlier.speculative_bytes;
    wasted_pages -= earlier.wasted_pages;
    wasted_bytes -= earlier.wasted_bytes;
    samples -= earlier.samples;
    codecs -= earlier.codecs;
    return *this;
  }
};

}  // namespace specrep::epoch
