#pragma once

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace specrep::tools {

// What the library and the programs log goes to stderr, a line each with the time in UTC: stdout
// belongs to messages for other programs.
inline void log_to_stderr() {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("specrep"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %v", spdlog::pattern_time_type::utc);
}

}  // namespace specrep::tools
