#pragma once

#include <functional>
#include <string>
#include <vector>

#include "libspecrep/epoch/primary_engine.h"
#include "libspecrep/epoch/totals.h"
#include "libspecrep/trace/trace.h"

// Protects the guest of a trace: the engine, model and codecs that run in production, on a clock,
// a link and a guest that are made of the trace.
//
// What is not in a trace is taken as follows. Contents: a line that changed holds bytes that pack
// as badly as the recorder found its page's changed lines to pack; memory that was not written
// before does not pack at all. Time: reading the log takes what it took when it was recorded,
// and a page takes page_cost to copy, encode and queue. A checkpoint takes no time, and its own
// pages (those of the guest's suspend) are not in a trace. What the link carries is known when
// the first epoch begins, and the link is idle then.
namespace specrep::trace {

struct ReplayOptions {
  model::PolicyOptions policy{};
  // A multiple of the trace's epoch, since only there are samples that close in on its end.
  // Zero: the trace's own.
  Duration epoch{};
  double bandwidth_bytes_per_s = 117e6;  // TCP over 1 Gbit/s
  Duration page_cost = std::chrono::microseconds(2);
  std::size_t delta_cache_pages = epoch::PrimaryOptions{}.delta_cache_pages;
};

struct Replayed {
  TraceHeader header;
  Duration epoch{};
  std::vector<epoch::EpochReport> epochs;
};

// Throws Error when the trace cannot be read, or has no such epochs. `progress`, if any, is told
// the microseconds of the trace that were replayed.
Replayed replay(const std::string& path, const ReplayOptions& options,
                const std::function<void(std::uint64_t)>& progress = {});

epoch::Totals sum(const std::vector<epoch::EpochReport>& epochs);

}  // namespace specrep::trace
