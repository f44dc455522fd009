// The report as a page: a summary, the time line, the plots, the events.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "tools/report/history.h"
#include "tools/svg.h"

namespace specrep::tools::report {

namespace {

// More points than a plot has pixels cost bytes and show nothing.
constexpr std::size_t kPointsMax = 800;
// Events beyond are left out of the table, the oldest first.
constexpr std::size_t kEventsMax = 2000;

// Each can be told from the others, and from white and from black.
constexpr const char* kGreen = "#2a9d5c";
constexpr const char* kBlue = "#3b7dd8";
constexpr const char* kOrange = "#d98324";
constexpr const char* kRed = "#d64545";
constexpr const char* kViolet = "#8a63d2";
constexpr const char* kGrey = "#8b8f98";

const char* color_of(State state) {
  switch (state) {
    case State::kProtected:
      return kGreen;
    case State::kFirstCopy:
    case State::kCopyMade:
      return kOrange;
    case State::kSettling:
    case State::kTakingOver:
      return "#e3b341";
    case State::kHeld:
      return kRed;
    case State::kUnprotected:
      return "#b35d5d";
    case State::kCopyKept:
      return "#58b3a4";
    case State::kRunsHere:
      return kBlue;
    case State::kUnknown:
      return "#6b6f78";
    case State::kGone:
      return kGrey;
  }
  return kGrey;
}

std::string text(const char* format, double value) {
  char out[64];
  std::snprintf(out, sizeof out, format, value);
  return out;
}

std::string duration(double seconds) {
  if (seconds < 60) return text("%.1f s", seconds);
  const auto s = std::lround(seconds);
  if (s < 3600) return std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s";
  if (s < 86'400) return std::to_string(s / 3600) + " h " + std::to_string(s / 60 % 60) + " min";
  return std::to_string(s / 86'400) + " d " + std::to_string(s / 3600 % 24) + " h";
}

std::string bytes(double value) {
  for (const char* unit : {"%.0f B", "%.1f kB", "%.1f MB", "%.1f GB"}) {
    if (value < 1000) return text(unit, value);
    value /= 1000;
  }
  return text("%.1f TB", value);
}

std::string date_and_time(double unix_s) {
  std::string utc = utc_time(unix_s);
  utc[10] = ' ';
  return utc.substr(0, 19) + " UTC";
}

// By epochs, so that a short line of figures counts less.
double mean(const std::vector<Sample>& samples, double (*value)(const Sample&)) {
  double sum = 0, epochs = 0;
  for (const Sample& s : samples) {
    sum += value(s) * s.epochs;
    epochs += s.epochs;
  }
  return epochs > 0 ? sum / epochs : 0;
}

double largest(const std::vector<Sample>& samples, double (*value)(const Sample&)) {
  double most = 0;
  for (const Sample& s : samples) most = std::max(most, value(s));
  return most;
}

class Page {
 public:
  Page(const History& history, const std::string& guest, const std::string& log_file,
       std::size_t bad_lines)
      : history_(history), guest_(guest), log_file_(log_file), bad_lines_(bad_lines) {
    // Lines without an epoch (the first copy's) have no means.
    std::vector<Sample> with_epochs;
    for (const Sample& s : history.samples)
      if (s.epochs > 0) with_epochs.push_back(s);
    thin_ = thin_out(with_epochs, kPointsMax);
  }

  std::string make() {
    head();
    summary();
    timeline();
    plots();
    events();
    out_ += "</main>\n</body>\n</html>\n";
    return out_;
  }

 private:
  void head() {
    const std::string title = escape_markup("Protection of " + guest_);
    out_ = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>)" + title +
           R"(</title>
<style>
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --text: #1d2129; --faint: #5d6470;
  --edge: #dfe2e8; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --card: #1d2026; --text: #e6e8ec;
  --faint: #a0a7b3; --edge: #343943; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 30px 0 8px; }
p { margin: 4px 0; color: var(--faint); overflow-wrap: anywhere; }
.bad { color: var(--bad); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 10px;
  margin: 18px 0 0; }
dl div { background: var(--card); border: 1px solid var(--edge); border-radius: 8px;
  padding: 9px 13px; }
dt { color: var(--faint); font-size: 13px; }
dd { margin: 0; font-size: 20px; font-variant-numeric: tabular-nums; }
dd small { display: block; font-size: 13px; color: var(--faint); }
.card { background: var(--card); border: 1px solid var(--edge); border-radius: 8px;
  padding: 10px; overflow-x: auto; }
svg { display: block; width: 100%; min-width: 640px; height: auto; }
table { border-collapse: collapse; width: 100%; min-width: 640px; font-size: 14px; }
th { text-align: left; color: var(--faint); font-weight: 600; }
th, td { padding: 4px 14px 4px 4px; border-bottom: 1px solid var(--edge); vertical-align: top; }
td:nth-child(2) { white-space: nowrap; font-variant-numeric: tabular-nums; }
td:last-child { overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; }
</style>
</head>
<body>
<main>
<h1>)" + title +
           "</h1>\n<p>" +
           escape_markup(date_and_time(history_.from) + " to " + date_and_time(history_.to) + " (" +
                         duration(history_.to - history_.from) + "), by " + log_file_) +
           "</p>\n";
    if (bad_lines_ > 0)
      out_ += "<p class=\"bad\">" + std::to_string(bad_lines_) +
              (bad_lines_ == 1 ? " line" : " lines") +
              " of the log could not be read and are left out.</p>\n";
  }

  void tile(const std::string& name, const std::string& value, const std::string& more = "") {
    out_ += "<div><dt>" + escape_markup(name) + "</dt><dd>" + escape_markup(value) +
            (more.empty() ? "" : " <small>" + escape_markup(more) + "</small>") + "</dd></div>\n";
  }

  void summary() {
    out_ += "<dl id=\"summary\">\n";
    const double protected_s = history_.seconds_in(State::kProtected);
    const double kept_s = history_.seconds_in(State::kCopyKept);
    if (protected_s > 0 || kept_s == 0) tile("protected", duration(protected_s));
    if (kept_s > 0) tile("copy kept", duration(kept_s));
    const double exposed_s = history_.seconds_in(State::kUnprotected) +
                             history_.seconds_in(State::kFirstCopy) +
                             history_.seconds_in(State::kHeld);
    if (exposed_s > 0) tile("ran without protection", duration(exposed_s));
    tile("failovers to this host", std::to_string(history_.count("failover")));
    tile("warnings", std::to_string(history_.count("warning")));
    if (!thin_.empty()) {
      const auto& all = thin_;
      double epochs = 0, sent = 0, dirty = 0, wasted = 0;
      for (const Sample& s : all) {
        epochs += s.epochs;
        for (const double rate : s.codec_bytes_per_s) sent += rate * s.seconds;
        dirty += s.written_pages * s.epochs;
        wasted += s.wasted_pages * s.epochs;
      }
      const auto delay = [](const Sample& s) { return s.delay_ms(); };
      const auto pause = [](const Sample& s) { return s.pause_ms(); };
      const auto residual = [](const Sample& s) { return s.residual_pages; };
      tile("epochs", text("%.0f", epochs),
           "of " + text("%.0f ms", mean(all, [](const Sample& s) { return s.epoch_ms; })));
      tile("output delay", text("%.0f ms", mean(all, delay)),
           "at worst " + text("%.0f ms", largest(all, delay)));
      tile("pause", text("%.1f ms", mean(all, pause)),
           "at worst " + text("%.1f ms", largest(all, pause)));
      tile("residual", text("%.1f pages", mean(all, residual)),
           "of " + text("%.0f", epochs > 0 ? dirty / epochs : 0) + " dirty");
      tile("waste", text("%.1f pages", epochs > 0 ? wasted / epochs : 0), "per epoch");
      tile("page bytes sent", bytes(sent));
    }
    out_ += "</dl>\n";
  }

  void timeline() {
    std::vector<Svg::Stretch> stretches;
    for (const Stretch& s : history_.states)
      stretches.push_back({s.from, s.to, name_of(s.state), color_of(s.state)});
    std::vector<Svg::Mark> marks;
    for (std::size_t i = first_event(); i < history_.events.size(); ++i) {
      const Event& e = history_.events[i];
      marks.push_back(
          {e.at, std::to_string(i + 1),
           date_and_time(e.at) + ": " + e.name + (e.text.empty() ? "" : ": " + e.text)});
    }
    Svg svg;
    svg.band(history_.from, history_.to, stretches, marks);
    section("timeline", "States and events", svg,
            "The numbers are those of the table of events below.");
  }

  void section(const std::string& id, const std::string& title, const Svg& svg,
               const std::string& explanation) {
    out_ += "<section>\n<h2>" + escape_markup(title) + "</h2>\n<div class=\"card\">\n" +
            svg.element(id, title) + "</div>\n<p>" + escape_markup(explanation) +
            "</p>\n</section>\n";
  }

  // A point at each line of figures; a gap where there are none.
  Svg::Series series(const std::string& name, const char* color, Svg::Kind kind,
                     const std::function<double(const Sample&)>& value) const {
    Svg::Series series{name, color, {}, kind};
    for (std::size_t i = 0; i < thin_.size(); ++i) {
      if (i > 0 && is_gap(thin_[i - 1], thin_[i]))
        series.points.push_back({thin_[i].at, std::numeric_limits<double>::quiet_NaN()});
      series.points.push_back({thin_[i].at, value(thin_[i])});
    }
    return series;
  }

  void plot(const std::string& id, const std::string& title, const std::string& y_name,
            std::vector<Svg::Series> series, const std::string& explanation) {
    Svg svg;
    svg.chart({"", "time (UTC)", y_name, std::move(series), history_.from, history_.to, true, 280});
    section(id, title, svg, explanation);
  }

  void plots() {
    if (thin_.empty()) {
      out_ +=
          "<p>No plots: this log has no figures of a primary. They are in the log of the host "
          "that the guest ran on.</p>\n";
      return;
    }
    using enum Svg::Kind;
    plot("delay", "Output delay", "ms",
         {series("epoch", kBlue, kArea, [](const Sample& s) { return s.epoch_ms; }),
          series("pause", kRed, kArea, [](const Sample& s) { return s.pause_ms(); }),
          series("lag", kOrange, kArea, [](const Sample& s) { return s.lag_ms; })},
         "How long the first frame that the guest sends in an epoch is held back: until the epoch "
         "ends, the guest is stopped and captured, and the backup has committed it (lag).");
    plot("pause", "Pause", "ms per epoch",
         {series("suspend", kViolet, kArea, [](const Sample& s) { return s.suspend_ms; }),
          series("capture", kRed, kArea, [](const Sample& s) { return s.capture_ms; }),
          series("resume", kGreen, kArea, [](const Sample& s) { return s.resume_ms; })},
         "How long the guest is stopped: until it stands still, while its state is copied, and "
         "until it runs again.");
    plot("residual", "Residual and waste", "pages per epoch",
         {series("residual", kRed, kLine, [](const Sample& s) { return s.residual_pages; }),
          series("waste", kBlue, kLine, [](const Sample& s) { return s.wasted_pages; })},
         "Residual: pages that were left for the moment when the guest is stopped. Waste: pages "
         "that were sent before it, and written again.");
    std::vector<Svg::Series> codecs;
    constexpr const char* kColors[] = {kGreen, kBlue, kRed};
    for (std::size_t c = 0; c < std::size(kCodecs); ++c)
      codecs.push_back(series(kCodecs[c], kColors[c], kArea,
                              [c](const Sample& s) { return s.codec_bytes_per_s[c] / 1e6; }));
    plot("wire", "Page bytes on the link", "MB/s", std::move(codecs),
         "By encoding, without the first copy. Pages that are all zero, or as they were last sent, "
         "take none.");
  }

  std::size_t first_event() const {
    return history_.events.size() - std::min(kEventsMax, history_.events.size());
  }

  void events() {
    out_ += "<section>\n<h2>Events</h2>\n";
    if (first_event() > 0)
      out_ += "<p>The last " + std::to_string(kEventsMax) + " of " +
              std::to_string(history_.events.size()) + ".</p>\n";
    out_ +=
        "<div class=\"card\"><table id=\"events\">\n<thead><tr><th>#</th><th>time (UTC)</th>"
        "<th>role</th><th>event</th><th></th></tr></thead>\n<tbody>\n";
    for (std::size_t i = first_event(); i < history_.events.size(); ++i) {
      const Event& e = history_.events[i];
      std::string time = utc_time(e.at);
      time[10] = ' ';
      time.pop_back();
      out_ += "<tr><td>" + std::to_string(i + 1) + "</td><td>" + time + "</td><td>" +
              escape_markup(e.role) + "</td><td>" + escape_markup(e.name) + "</td><td>" +
              escape_markup(e.text) + "</td></tr>\n";
    }
    out_ += "</tbody></table></div>\n</section>\n";
  }

  const History& history_;
  const std::string guest_, log_file_;
  const std::size_t bad_lines_;
  std::vector<Sample> thin_;
  std::string out_;
};

}  // namespace

std::string page(const History& history, const std::string& guest, const std::string& log_file,
                 std::size_t bad_lines) {
  return Page(history, guest, log_file, bad_lines).make();
}

}  // namespace specrep::tools::report
