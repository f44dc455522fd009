#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/event_log.h"

namespace specrep::tools::report {

// A guest's protection over time, as its event log tells it. Times are seconds since 1970.

enum class State {
  kUnknown,      // nobody wrote: the host was down, or the log is of before
  kFirstCopy,    // primary: nothing could be activated yet
  kProtected,    // primary
  kSettling,     // primary: stopping, or finding out which copy goes on
  kHeld,         // primary: the guest is paused until the operator has spoken
  kUnprotected,  // primary: the guest runs on alone
  kGone,         // the guest is not here: it moved, ended, or its copy was discarded
  kCopyMade,     // backup: the first copy comes in
  kCopyKept,     // backup
  kTakingOver,   // backup: the primary is lost
  kRunsHere,     // backup: it has taken the guest over
};
const char* name_of(State state);  // for people

struct Stretch {
  double from, to;
  State state;
};

// One line of figures: means per epoch over the `seconds` before `at`.
struct Sample {
  double at = 0, seconds = 0, epochs = 0;
  double epoch_ms = 0, suspend_ms = 0, capture_ms = 0, resume_ms = 0, lag_ms = 0;
  double residual_pages = 0, wasted_pages = 0, written_pages = 0;
  std::vector<double> codec_bytes_per_s{};  // by kCodecs
  double pause_ms() const { return suspend_ms + capture_ms + resume_ms; }
  double delay_ms() const { return epoch_ms + pause_ms() + lag_ms; }
};
inline constexpr const char* kCodecs[] = {"delta", "lz4", "raw"};  // the others have no payload

struct Event {
  double at;
  std::string role, name, text;
};

struct History {
  double from = 0, to = 0;
  std::vector<Stretch> states;  // without gaps
  std::vector<Sample> samples;  // the primary's
  std::vector<Event> events;    // all but the figures
  double seconds_in(State state) const;
  std::size_t count(const std::string& event) const;
};
History history_of(const std::vector<nlohmann::json>& lines);

// At most `most` samples: neighbours are put together as means over their epochs. Samples of
// different protections stay apart.
std::vector<Sample> thin_out(const std::vector<Sample>& samples, std::size_t most);

// Whether no figures were written between two neighbours for longer than they are apart by.
bool is_gap(const Sample& before, const Sample& after);

// A whole page, which needs nothing else.
std::string page(const History& history, const std::string& guest, const std::string& log_file,
                 std::size_t bad_lines);

}  // namespace specrep::tools::report
