#include "tools/exporter/metrics.h"

#include <sys/stat.h>

#include <fstream>

#include "tools/event_log.h"
#include "tools/json_fields.h"

namespace specrep::tools::exporter {

namespace {

using nlohmann::json;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// Those that dashboards can count on being there; see libspecrep/xen/registry.h.
constexpr const char* kStates[] = {"waiting",      "first-copy", "protected",
                                   "primary-lost", "activating", "dead"};

const json* find(const json& object, const std::string& path) {
  const auto dot = path.find('.');
  const auto it = object.is_object() ? object.find(path.substr(0, dot)) : object.end();
  if (!object.is_object() || it == object.end()) return nullptr;
  return dot == std::string::npos ? &*it : find(*it, path.substr(dot + 1));
}

// Metrics of one name are to stand together, so they are gathered by name.
class Families {
 public:
  void add(const std::string& name, const std::string& help, MetricType type, Labels labels,
           double value) {
    MetricFamily& family = families_[name];
    family.name = name;
    family.help = help;
    family.type = type;
    ClientMetric metric;
    metric.label = std::move(labels);
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    family.metric.push_back(std::move(metric));
  }
  std::vector<MetricFamily> take() {
    std::vector<MetricFamily> all;
    for (auto& [name, family] : families_) all.push_back(std::move(family));
    return all;
  }

 private:
  std::map<std::string, MetricFamily> families_;
};

// A number of the status that becomes a metric.
struct Figure {
  const char* name;
  const char* help;
  MetricType type;
  const char* path;  // in the status
  double scale = 1;
};
constexpr double kMs = 1e-3;
constexpr auto kCounter = MetricType::Counter;
constexpr auto kGauge = MetricType::Gauge;

constexpr Figure kFigures[] = {
    {"specrep_epoch_seconds", "Mean length of the epochs of the last 5 s.", kGauge,
     "recent.epoch_ms", kMs},
    {"specrep_pause_seconds", "Mean time for which an epoch of the last 5 s stopped the guest.",
     kGauge, "recent.pause_ms", kMs},
    {"specrep_lag_seconds",
     "Mean time from the guest's resumption until the backup had committed, in the last 5 s.",
     kGauge, "recent.lag_ms", kMs},
    {"specrep_output_delay_seconds",
     "Mean time for which the first frame of an epoch was held back, in the last 5 s.", kGauge,
     "recent.output_delay_ms", kMs},
    {"specrep_residual_pages",
     "Mean number of pages that were left for an epoch's end, in the last 5 s.", kGauge,
     "recent.residual_pages"},
    {"specrep_wasted_pages",
     "Mean number of pages that an epoch sent and the guest wrote again, in the last 5 s.", kGauge,
     "recent.wasted_pages"},
    {"specrep_pause_max_seconds", "Longest time for which an epoch stopped the guest.", kGauge,
     "pause_ms_max", kMs},
    {"specrep_lag_epochs", "Epochs that the backup has yet to commit, or to load.", kGauge,
     "lag_epochs"},
    {"specrep_committed_epoch", "Newest epoch that the backup has committed.", kGauge,
     "committed_epoch"},
    {"specrep_staged_pages", "Pages of the open epoch that the backup keeps aside.", kGauge,
     "staged_pages"},
    {"specrep_last_event_timestamp_seconds", "When the last event was.", kGauge,
     "last_event_unix_s"},
    {"specrep_epochs_total", "Epochs since protection started.", kCounter, "sums.epochs"},
    {"specrep_commits_total", "Commits since protection started.", kCounter, "sums.commits"},
    {"specrep_run_seconds_total", "Time for which the guest ran in epochs.", kCounter,
     "sums.run_s"},
    {"specrep_lag_seconds_total", "Sum of the commits' lags.", kCounter, "sums.lag_s"},
    {"specrep_sampling_seconds_total", "Time for which the dirty log was read.", kCounter,
     "sums.sampling_s"},
    {"specrep_dirty_pages_total", "Pages that the guest wrote to, once for each epoch.", kCounter,
     "sums.written_pages"},
    {"specrep_residual_pages_total", "Pages that were left for the end of an epoch.", kCounter,
     "sums.residual_pages"},
    {"specrep_speculative_pages_total", "Pages that were sent while the guest ran.", kCounter,
     "sums.speculative_pages"},
    {"specrep_wasted_pages_total", "Of these, pages that the guest wrote again in the same epoch.",
     kCounter, "sums.wasted_pages"},
    {"specrep_wire_bytes_total", "Bytes that were sent of memory and state, first copy included.",
     kCounter, "sums.wire_bytes"},
    {"specrep_output_dropped_frames_total", "Frames that the full output buffer dropped.", kCounter,
     "output_dropped_frames"},
    {"specrep_compared_pages_total", "Pages that --verify compared.", kCounter, "pages_compared"},
    {"specrep_different_pages_total", "Of these, pages that differed. More than 0 is a bug.",
     kCounter, "pages_different"},
};

void add_status(Families& families, const Labels& labels, const json& status) {
  for (const Figure& figure : kFigures) {
    const json* value = find(status, figure.path);
    if (value && value->is_number())
      families.add(figure.name, figure.help, figure.type, labels,
                   value->get<double>() * figure.scale);
  }
  for (const char* phase : {"suspend", "capture", "resume"}) {
    const json* value = find(status, std::string("sums.") + phase + "_s");
    if (!value || !value->is_number()) continue;
    Labels with_phase = labels;
    with_phase.push_back({"phase", phase});
    families.add("specrep_pause_seconds_total",
                 "Time for which the guest was stopped for checkpoints.", kCounter, with_phase,
                 value->get<double>());
  }
  const json* codecs = find(status, "codecs");
  if (!codecs || !codecs->is_object()) return;
  for (const auto& [codec, counters] : codecs->items()) {
    Labels with_encoding = labels;
    with_encoding.push_back({"encoding", codec});
    for (const char* what : {"pages", "bytes"}) {
      const json* value = find(counters, what);
      if (value && value->is_number())
        families.add(std::string("specrep_sent_page") +
                         (std::string(what) == "bytes" ? "_bytes_total" : "s_total"),
                     std::string(what) == "bytes"
                         ? "Payload of the pages that were sent in epochs, by encoding."
                         : "Pages that were sent in epochs, by encoding.",
                     kCounter, with_encoding, value->get<double>());
    }
  }
}

}  // namespace

const std::map<std::string, EventCounter::Counts>& EventCounter::update() {
  std::error_code none;
  for (const auto& file : std::filesystem::directory_iterator(folder_, none)) {
    const auto& path = file.path();
    if (path.extension() != ".events") continue;
    const std::string guest = path.stem();
    read(path, places_[guest], counts_[guest]);
  }
  return counts_;
}

void EventCounter::read(const std::filesystem::path& file, Place& place, Counts& counts) {
  struct stat info {};
  if (stat(file.c_str(), &info) != 0) return;
  const auto size = static_cast<std::uintmax_t>(info.st_size);
  if (info.st_ino != place.inode) {
    // It was moved away (see EventLog): what was added to it since the last look is there.
    const std::filesystem::path moved = file.string() + ".1";
    struct stat old {};
    if (place.inode != 0 && stat(moved.c_str(), &old) == 0 && old.st_ino == place.inode)
      read(moved, place, counts);
    place = {info.st_ino, 0};
  }
  if (size <= place.offset) return;
  std::ifstream in(file);
  in.seekg(static_cast<std::streamoff>(place.offset));
  for (std::string line; std::getline(in, line) && !in.eof();) {
    place.offset += line.size() + 1;
    const json event = json::parse(line, nullptr, false);
    const std::string name = event.is_object() ? text_of(event, "event") : "";
    if (name.empty() || name == "figures") continue;
    ++counts.by_event[name];
    if (name == "failover")
      counts.last_failover_unix_s = unix_time(text_of(event, "time")).value_or(0);
  }
}

std::vector<MetricFamily> metrics_of(const json& entries,
                                     const std::map<std::string, EventCounter::Counts>& events) {
  Families families;
  std::map<std::string, std::uint64_t> failovers;
  for (const json& entry : entries) {
    const std::string guest = text_of(entry, "name"), role = text_of(entry, "role");
    const Labels labels = {{"guest", guest}, {"role", role}};
    Labels all = labels;
    all.push_back({"uuid", text_of(entry, "uuid")});
    all.push_back({"peer", text_of(entry, "peer")});
    families.add("specrep_guest_info", "A guest that is protected, or kept as a copy, here.",
                 kGauge, all, 1);
    const bool alive = entry.value("alive", true);
    const std::string state = alive ? text_of(entry, "state") : "dead";
    bool known = false;
    const auto add_state = [&](const std::string& name) {
      Labels with_state = labels;
      with_state.push_back({"state", name});
      known |= name == state;
      families.add("specrep_guest_state", "1 for the state that the protection is in.", kGauge,
                   with_state, name == state ? 1 : 0);
    };
    for (const char* name : kStates) add_state(name);
    if (!known) add_state(state);
    families.add("specrep_guest_protected", "Whether there is a copy that could be activated.",
                 kGauge, labels, state == "protected" ? 1 : 0);
    // What a dead process published last is true no more.
    if (alive && entry.contains("status")) add_status(families, labels, entry["status"]);
    failovers.try_emplace(guest, 0);
  }
  for (const auto& [guest, counts] : events) {
    for (const auto& [event, count] : counts.by_event)
      families.add("specrep_events_total", "Events in the guest's event log of this host.",
                   kCounter, {{"guest", guest}, {"event", event}}, static_cast<double>(count));
    const auto found = counts.by_event.find("failover");
    failovers[guest] = found == counts.by_event.end() ? 0 : found->second;
    if (counts.last_failover_unix_s > 0)
      families.add("specrep_last_failover_timestamp_seconds",
                   "When this host last took the guest over.", kGauge, {{"guest", guest}},
                   counts.last_failover_unix_s);
  }
  for (const auto& [guest, count] : failovers)
    families.add("specrep_failovers_total", "How often this host has taken the guest over.",
                 kCounter, {{"guest", guest}}, static_cast<double>(count));
  return families.take();
}

}  // namespace specrep::tools::exporter
