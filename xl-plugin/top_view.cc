#include "xl-plugin/top_view.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <functional>
#include <optional>

#include "tools/json_fields.h"
#include "tools/printable.h"

namespace specrep::xl {

namespace {

using nlohmann::json;
using Look = TopSpan::Look;
using tools::number_of;
using tools::printable_ascii;

constexpr std::size_t kEventColumnMin = 36;

std::string text_of(const json& object, const char* key) {
  return printable_ascii(tools::text_of(object, key));
}

const json& child(const json& object, const char* key) {
  static const json kNone = json::object();
  const auto it = object.find(key);
  return it != object.end() && it->is_object() ? *it : kNone;
}

// In five characters.
std::string short_number(std::optional<double> value) {
  if (!value) return "-";
  char text[32];
  const double size = std::abs(*value);
  if (size < 99.95)
    std::snprintf(text, sizeof text, "%.1f", *value);
  else if (size < 99'999.5)
    std::snprintf(text, sizeof text, "%.0f", *value);
  else if (size < 9'999'500)
    std::snprintf(text, sizeof text, "%.0fk", *value / 1e3);
  else
    std::snprintf(text, sizeof text, "%.0fM", *value / 1e6);
  return text;
}

std::string whole_number(std::optional<double> value) {
  if (!value) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.0f", *value);
  return text;
}

std::string ago(double seconds) {
  const auto s = static_cast<long>(std::max(0.0, seconds));
  if (s < 60) return std::to_string(s) + " s ago";
  if (s < 3600) return std::to_string(s / 60) + " min ago";
  if (s < 86'400) return std::to_string(s / 3600) + " h ago";
  return std::to_string(s / 86'400) + " d ago";
}

// A row of blocks, as high as the values are of the largest. `width` characters.
std::string trend(const std::deque<double>& values, std::size_t width) {
  constexpr const char* kBlocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const std::size_t first = values.size() - std::min(values.size(), width);
  const double top =
      values.empty()
          ? 0
          : *std::max_element(values.begin() + static_cast<std::ptrdiff_t>(first), values.end());
  std::string line;
  for (std::size_t i = first; i < values.size(); ++i)
    line += kBlocks[top > 0 ? std::min(7, static_cast<int>(values[i] / top * 7.999)) : 0];
  return line + std::string(width - (values.size() - first), ' ');
}

std::string fit(const std::string& text, std::size_t width, bool right = false) {
  if (text.size() > width)
    return width < 3 ? text.substr(0, width) : text.substr(0, width - 2) + "..";
  const std::string blanks(width - text.size(), ' ');
  return right ? blanks + text : text + blanks;
}

bool is_alive(const json& entry) {
  const auto it = entry.find("alive");
  return it == entry.end() || !it->is_boolean() || it->get<bool>();
}

std::string state_of(const json& entry) {
  return is_alive(entry) ? text_of(entry, "state") : "dead";
}

Look look_of(const std::string& state) {
  if (state == "protected") return Look::kGood;
  if (state == "dead" || state == "primary-lost") return Look::kBad;
  return Look::kBusy;
}

// What a dead process published last is true no more.
const json& status_of(const json& entry) {
  static const json kNone = json::object();
  return is_alive(entry) ? child(entry, "status") : kNone;
}

std::string event_of(const json& entry, double now_unix_s) {
  if (!is_alive(entry)) return "died: xl remus-spec-stop " + text_of(entry, "name");
  const json& status = status_of(entry);
  const std::string what = text_of(status, "last_event");
  const auto at = number_of(status, "last_event_unix_s");
  return at ? what + ", " + ago(now_unix_s - *at) : what;
}

struct Column {
  std::string header, unit;
  std::size_t width;
  bool right;
  std::function<std::string(const json& entry)> cell;
};

Column number(const char* header, const char* unit, const char* group, const char* key,
              std::size_t width = 6, double scale = 1) {
  return {header, unit, width, true, [=](const json& entry) {
            const json& status = status_of(entry);
            auto value = number_of(*group ? child(status, group) : status, key);
            if (value) *value *= scale;
            return short_number(value);
          }};
}
Column whole(const char* header, const char* key, std::size_t width) {
  return {header, "", width, true, [=](const json& entry) {
            const auto own = number_of(entry, key);
            return whole_number(own ? own : number_of(status_of(entry), key));
          }};
}
Column text(const char* header, const char* key, std::size_t width) {
  return {header, "", width, false, [=](const json& entry) { return text_of(entry, key); }};
}

// One of the two tables: the guests that are protected here, or the copies that are kept.
class Section {
 public:
  Section(const char* title, std::vector<Column> columns, const TopOptions& options)
      : columns_(std::move(columns)), options_(options) {
    const std::size_t name_width = options.columns >= 180 ? 20 : 16;
    columns_.insert(columns_.begin(),
                    {text(title, "name", name_width),
                     {"STATE", "", 12, false, [](const json& e) { return state_of(e); }}});
    for (const Column& column : columns_) used_ += column.width + 1;
    --used_;
  }

  // Adds a column if there is room beside those that are there.
  void offer(Column column) {
    if (used_ + 1 + column.width > std::min(options_.columns, kTopColumnsMax)) return;
    used_ += 1 + column.width;
    columns_.push_back(std::move(column));
  }

  void add_to(std::vector<TopLine>& lines, const std::vector<const json*>& entries) {
    const std::size_t columns = std::clamp(options_.columns, kTopColumnsMin, kTopColumnsMax);
    // Beside the row if there is room, else below it.
    const bool beside = used_ + 2 + kEventColumnMin <= columns;
    std::string header, units;
    for (const Column& column : columns_) {
      header += fit(column.header, column.width, column.right) + " ";
      units += fit(column.unit, column.width, column.right) + " ";
    }
    if (beside) header += " LAST EVENT";
    lines.push_back({{header, Look::kStrong}});
    lines.push_back({{units, Look::kFaint}});
    for (const json* entry : entries) {
      TopLine line;
      for (std::size_t c = 0; c < columns_.size(); ++c) {
        const Column& column = columns_[c];
        const std::string cell = column.cell(*entry);
        // A trend's characters have more than a byte; it fills its column by itself.
        const bool ascii = std::all_of(cell.begin(), cell.end(), [](char ch) { return ch >= 0; });
        line.push_back({(ascii ? fit(cell, column.width, column.right) : cell) + " ",
                        c == 1 ? look_of(state_of(*entry)) : Look::kPlain});
      }
      const std::string event = event_of(*entry, options_.now_unix_s);
      if (beside) line.push_back({" " + fit(event, columns - used_ - 2), Look::kPlain});
      lines.push_back(std::move(line));
      if (!beside) {
        const std::string peer = text_of(*entry, "peer");
        const bool show_peer = text_of(*entry, "role") != "backup" && !peer.empty();
        lines.push_back({{"  " + fit(event + (show_peer ? "; backup: " + peer : ""), columns - 2),
                          Look::kFaint}});
      }
    }
  }

 private:
  std::vector<Column> columns_;
  const TopOptions& options_;
  std::size_t used_ = 0;
};

std::string plural(std::size_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

}  // namespace

std::vector<TopLine> top_view(const json& entries, const Trends& trends,
                              const TopOptions& options) {
  std::vector<const json*> primaries, backups;
  for (const json& entry : entries)
    (text_of(entry, "role") == "backup" ? backups : primaries).push_back(&entry);

  const auto safe = std::count_if(primaries.begin(), primaries.end(), [](const json* entry) {
    return state_of(*entry) == "protected";
  });
  char clock[32];
  const auto now = static_cast<std::time_t>(options.now_unix_s);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::strftime(clock, sizeof clock, "%H:%M:%S UTC", &utc);
  std::vector<TopLine> lines;
  lines.push_back({{printable_ascii(options.host), Look::kStrong},
                   {"  " + std::string(clock) + "  " + std::to_string(safe) + " of " +
                    plural(primaries.size(), "guest protected, ", "guests protected, ") +
                    plural(backups.size(), "copy kept", "copies kept")},
                   {options.rows > 0 ? "  q: quit" : "", Look::kFaint}});
  if (entries.empty()) {
    lines.emplace_back();
    lines.push_back({{"`xl remus-spec DOMAIN HOST` protects a guest.", Look::kFaint}});
  }

  if (!primaries.empty()) {
    Section section(
        "GUEST",
        {number("EPOCH", "ms", "recent", "epoch_ms"), number("PAUSE", "ms", "recent", "pause_ms"),
         number("DELAY", "ms", "recent", "output_delay_ms"),
         number("LEFT", "pages", "recent", "residual_pages"),
         number("WASTE", "pages", "recent", "wasted_pages"),
         number("LINK", "MB/s", "recent", "bytes_per_s", 6, 1e-6),
         number("LAG", "ms", "recent", "lag_ms")},
        options);
    if (options.columns >= 132) {
      section.offer(text("BACKUP", "peer", 12));
      if (options.columns >= 160) {
        section.offer(number("SUSPEND", "ms", "recent", "suspend_ms", 7));
        section.offer(number("CAPTURE", "ms", "recent", "capture_ms", 7));
        section.offer(number("RESUME", "ms", "recent", "resume_ms"));
      }
      if (options.columns >= 180) {
        section.offer(number("DIRTY", "pages", "recent", "written_pages"));
        section.offer(whole("COMMITTED", "committed_epoch", 10));
      }
      if (options.columns >= 180 && options.unicode)
        section.offer({"DELAY, LAST " + std::to_string(kTrendMax) + " s", "", kTrendMax, false,
                       [&trends](const json& entry) {
                         const auto it = trends.find(text_of(entry, "uuid"));
                         return trend(it == trends.end() ? std::deque<double>() : it->second,
                                      kTrendMax);
                       }});
    }
    lines.emplace_back();
    section.add_to(lines, primaries);
  }
  if (!backups.empty()) {
    Section section("COPY",
                    {text("PRIMARY", "peer", 12), whole("COMMITTED", "committed_epoch", 10),
                     number("DIRTY", "pages", "", "pages_per_epoch"),
                     number("STAGED", "pages", "", "staged_pages"),
                     number("QUEUED", "epochs", "", "lag_epochs")},
                    options);
    lines.emplace_back();
    section.add_to(lines, backups);
  }
  if (options.rows > 1 && lines.size() > options.rows) {
    lines.resize(options.rows - 1);
    lines.push_back({{"More than there is room for: a taller terminal shows it.", Look::kBusy}});
  }
  return lines;
}

std::string plain_text(const std::vector<TopLine>& lines) {
  std::string all;
  for (const TopLine& line : lines) {
    std::string text;
    for (const TopSpan& span : line) text += span.text;
    text.erase(text.find_last_not_of(' ') + 1);
    all += text + "\n";
  }
  return all;
}

void follow(Trends& trends, const json& entries) {
  Trends now;
  for (const json& entry : entries) {
    const std::string uuid = text_of(entry, "uuid");
    auto& values = now[uuid] = std::move(trends[uuid]);
    const auto delay = number_of(child(status_of(entry), "recent"), "output_delay_ms");
    if (!delay) continue;
    values.push_back(*delay);
    if (values.size() > kTrendMax) values.pop_front();
  }
  trends = std::move(now);
}

}  // namespace specrep::xl
