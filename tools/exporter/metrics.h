#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace specrep::tools::exporter {

// How often each event is in the guests' event logs of this host. Follows the logs: what was read
// is not read again. Not thread-safe.
class EventCounter {
 public:
  explicit EventCounter(std::filesystem::path folder) : folder_(std::move(folder)) {}

  struct Counts {
    std::map<std::string, std::uint64_t> by_event;
    double last_failover_unix_s = 0;  // 0: never
  };
  // By guest, of all lines that are whole now.
  const std::map<std::string, Counts>& update();

 private:
  struct Place {
    std::uintmax_t inode = 0, offset = 0;
  };
  void read(const std::filesystem::path& file, Place& place, Counts& counts);

  const std::filesystem::path folder_;
  std::map<std::string, Place> places_;
  std::map<std::string, Counts> counts_;
};

// All metrics, in base units. `entries`: an array as `xl remus-spec-list --json` prints it.
std::vector<prometheus::MetricFamily> metrics_of(
    const nlohmann::json& entries, const std::map<std::string, EventCounter::Counts>& events);

}  // namespace specrep::tools::exporter
