#pragma once

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "libspecrep/memory_shortage.h"

namespace specrep::tools {

// What the library and the programs log goes to stderr, a line each with the time in UTC: stdout
// belongs to messages for other programs.
inline void log_to_stderr() {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("specrep"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %v", spdlog::pattern_time_type::utc);
}

inline void be_there_when_memory_is_short() {
  if (const std::string refused = outlive_memory_shortage(); !refused.empty())
    spdlog::warn("this may stall or be killed when memory is short: {}", refused);
}

}  // namespace specrep::tools
