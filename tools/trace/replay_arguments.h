#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <chrono>

#include "libspecrep/trace/replay.h"

namespace specrep::tools {

// The options that say how a trace is replayed.
struct ReplayArguments {
  double epoch_ms = 0;
  double bandwidth_mb_s = 117;

  void add_to(CLI::App& command) {
    command.add_option("--epoch", epoch_ms, "a multiple of the trace's own [the trace's]")
        ->type_name("MS")
        ->check(CLI::Range(1.0, 60'000.0));
    command.add_option("--bandwidth", bandwidth_mb_s, "of the link [117]")
        ->type_name("MB/s")
        ->check(CLI::Range(0.1, 1e6));
  }

  trace::ReplayOptions options() const {
    trace::ReplayOptions replay;
    replay.epoch = std::chrono::microseconds(static_cast<std::int64_t>(epoch_ms * 1000));
    replay.bandwidth_bytes_per_s = bandwidth_mb_s * 1e6;
    return replay;
  }
};

}  // namespace specrep::tools
