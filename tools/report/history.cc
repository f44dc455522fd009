#include "tools/report/history.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "tools/json_fields.h"

namespace specrep::tools::report {

namespace {

using nlohmann::json;

double number_of(const json& object, const char* key) {
  return tools::number_of(object, key).value_or(0);
}

// The figures that are means per epoch, and their keys in the log.
struct Mean {
  const char* key;
  double Sample::*figure;
};
constexpr Mean kMeans[] = {
    {"epoch_ms", &Sample::epoch_ms},
    {"suspend_ms", &Sample::suspend_ms},
    {"capture_ms", &Sample::capture_ms},
    {"resume_ms", &Sample::resume_ms},
    {"lag_ms", &Sample::lag_ms},
    {"residual_pages", &Sample::residual_pages},
    {"wasted_pages", &Sample::wasted_pages},
    {"written_pages", &Sample::written_pages},
};

// What a state becomes by an event; nothing: it stays.
std::optional<State> next_state(const std::string& role, const json& event) {
  const std::string name = event["event"];
  struct Step {
    const char* event;
    State state;
  };
  constexpr Step kPrimary[] = {
      {"started", State::kFirstCopy},
      {"protected", State::kProtected},
      {"stopping", State::kSettling},
      {"settling", State::kSettling},
      {"handing-over", State::kSettling},
      {"hand-over-failed", State::kProtected},
      {"held", State::kHeld},
      {"unprotected", State::kUnprotected},
      {"ended", State::kUnprotected},
      {"moved", State::kGone},
  };
  constexpr Step kBackup[] = {
      {"started", State::kCopyMade},       {"first-copy", State::kCopyMade},
      {"protected", State::kCopyKept},     {"primary-lost", State::kTakingOver},
      {"failover", State::kRunsHere},      {"discarded", State::kGone},
      {"activation-failed", State::kGone},
  };
  const std::string reason = text_of(event, "reason");
  if (name == "ended" && (reason == "guest-ended" || reason == "handed-over")) return State::kGone;
  const auto search = [&](const auto& steps) -> std::optional<State> {
    for (const Step& step : steps)
      if (name == step.event) return step.state;
    return std::nullopt;
  };
  return role == "backup" ? search(kBackup) : search(kPrimary);
}

// Between protections nobody writes to the log. While one lasts, a silence is a host that is down.
bool is_settled(State state) {
  return state == State::kHeld || state == State::kUnprotected || state == State::kGone ||
         state == State::kRunsHere;
}

Sample sample_of(const json& event, double at) {
  Sample s;
  s.at = at;
  s.seconds = number_of(event, "seconds");
  s.epochs = number_of(event, "epochs");
  for (const Mean& mean : kMeans) s.*mean.figure = number_of(event, mean.key);
  const json codecs = event.value("codecs", json::object());
  for (const char* codec : kCodecs) {
    const auto it = codecs.find(codec);
    const double bytes = it != codecs.end() && it->is_object() ? number_of(*it, "bytes") : 0;
    s.codec_bytes_per_s.push_back(s.seconds > 0 ? bytes / s.seconds : 0);
  }
  return s;
}

// What a person wants to know of it, in one sentence.
std::string text_for(const json& event) {
  const std::string name = event["event"];
  std::string text = text_of(event, "what");
  const std::string peer = text_of(event, "peer"), advice = text_of(event, "advice");
  char figures[160];
  if (name == "started" && !peer.empty()) {
    text = text_of(event, "role") == "backup" ? "a copy for " + peer : "to " + peer;
  } else if (name == "protected" && event.contains("seconds")) {
    std::snprintf(figures, sizeof figures, "the first copy took %.1f s",
                  number_of(event, "seconds"));
    text = figures;
  } else if (name == "verified") {
    std::snprintf(figures, sizeof figures, "epoch %.0f: %.0f pages compared, %.0f differ",
                  number_of(event, "epoch"), number_of(event, "compared"),
                  number_of(event, "different"));
    text = figures;
  } else if (name == "failover") {
    std::snprintf(figures, sizeof figures,
                  ": activated from epoch %.0f, running %.2f s after the loss was noticed",
                  number_of(event, "epoch"),
                  number_of(event, "running_unix_s") - number_of(event, "detected_unix_s"));
    text = text_of(event, "reason") + figures;
  } else if (name == "ended" && text.empty()) {
    text = text_of(event, "reason");
  }
  return advice.empty() ? text : text + " (" + advice + ")";
}

}  // namespace

const char* name_of(State state) {
  switch (state) {
    case State::kUnknown:
      return "no record";
    case State::kFirstCopy:
      return "first copy";
    case State::kProtected:
      return "protected";
    case State::kSettling:
      return "stopping or settling";
    case State::kHeld:
      return "held";
    case State::kUnprotected:
      return "unprotected";
    case State::kGone:
      return "not here";
    case State::kCopyMade:
      return "copy being made";
    case State::kCopyKept:
      return "copy kept";
    case State::kTakingOver:
      return "taking over";
    case State::kRunsHere:
      return "taken over: runs here";
  }
  return "";
}

double History::seconds_in(State state) const {
  double sum = 0;
  for (const Stretch& s : states)
    if (s.state == state) sum += s.to - s.from;
  return sum;
}

std::size_t History::count(const std::string& event) const {
  return static_cast<std::size_t>(
      std::count_if(events.begin(), events.end(), [&](const Event& e) { return e.name == event; }));
}

History history_of(const std::vector<json>& lines) {
  History history;
  State state = State::kUnknown;
  double since = 0, last = 0;
  const auto enter = [&](State next, double at) {
    if (at > since) history.states.push_back({since, at, state});
    state = next;
    since = at;
  };
  for (const json& line : lines) {
    // A clock that was set back must not make time run backwards in the pictures.
    const double at = std::max(last, *unix_time(line["time"]));
    const std::string role = text_of(line, "role"), name = line["event"];
    if (last == 0) history.from = since = at;
    if (name == "started" && !is_settled(state) && state != State::kUnknown)
      enter(State::kUnknown, last);
    last = at;
    if (name == "figures") {
      if (role != "backup") history.samples.push_back(sample_of(line, at));
      continue;
    }
    // What is settled is not unsettled by the primary's own last words.
    const auto next = next_state(role, line);
    if (next && *next != state && !(name == "ended" && is_settled(state))) enter(*next, at);
    history.events.push_back({at, role, name, text_for(line)});
  }
  history.to = last;
  if (!lines.empty()) history.states.push_back({since, last, state});
  return history;
}

bool is_gap(const Sample& before, const Sample& after) {
  return after.at - before.at > 1.5 * after.seconds + 1;
}

std::vector<Sample> thin_out(const std::vector<Sample>& samples, std::size_t most) {
  const std::size_t together = (samples.size() + most - 1) / std::max<std::size_t>(1, most);
  if (together <= 1) return samples;
  std::vector<Sample> thin;
  for (std::size_t i = 0; i < samples.size();) {
    Sample mean;
    mean.codec_bytes_per_s.resize(std::size(kCodecs));
    std::size_t n = 0;
    for (; n < together && i + n < samples.size(); ++n) {
      const Sample& s = samples[i + n];
      if (n > 0 && is_gap(samples[i + n - 1], s)) break;
      for (const auto& [key, figure] : kMeans) mean.*figure += s.*figure * s.epochs;
      for (std::size_t c = 0; c < std::size(kCodecs); ++c)
        mean.codec_bytes_per_s[c] += s.codec_bytes_per_s[c] * s.seconds;
      mean.seconds += s.seconds;
      mean.epochs += s.epochs;
      mean.at = s.at;
    }
    for (const auto& [key, figure] : kMeans) mean.*figure /= std::max(1.0, mean.epochs);
    for (double& bytes : mean.codec_bytes_per_s) bytes /= std::max(1e-9, mean.seconds);
    thin.push_back(std::move(mean));
    i += n;
  }
  return thin;
}

}  // namespace specrep::tools::report
