#include "tools/table.h"

#include <algorithm>
#include <cassert>

#include "tools/printable.h"

namespace specrep::tools {

namespace {

constexpr std::size_t kGap = 2;
// The last column gets this much even if the table becomes wider than the screen.
constexpr std::size_t kLastColumnMin = 16;

std::string cut(const std::string& text, std::size_t width) {
  if (text.size() <= width) return text;
  return width <= 2 ? text.substr(0, width) : text.substr(0, width - 2) + "..";
}

std::string pad(const std::string& text, std::size_t width, bool right) {
  const std::string blanks(width - std::min(width, text.size()), ' ');
  return right ? blanks + text : text + blanks;
}

void append_line(std::string& out, std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  out += line + "\n";
}

}  // namespace

std::vector<std::string> wrap(const std::string& text, std::size_t width) {
  std::vector<std::string> lines;
  std::string rest = text;
  while (rest.size() > width) {
    std::size_t at = rest.rfind(' ', width);
    const bool blank = at != std::string::npos && at > 0;
    if (!blank) at = width;
    lines.push_back(rest.substr(0, at));
    rest = rest.substr(blank ? at + 1 : at);
  }
  lines.push_back(rest);
  return lines;
}

void Table::add(std::vector<std::string> cells) {
  assert(cells.size() == columns_.size());
  std::ranges::transform(cells, cells.begin(), printable);
  rows_.push_back({std::move(cells), {}});
}

void Table::note(const std::string& text) { rows_.back().notes.push_back(printable(text)); }

std::string Table::text() const {
  std::vector<std::size_t> widths;
  std::size_t used = 0;
  for (std::size_t c = 0; c + 1 < columns_.size(); ++c) {
    std::size_t width = columns_[c].header.size();
    for (const Row& row : rows_) width = std::max(width, row.cells[c].size());
    widths.push_back(std::min(width, std::max(columns_[c].width_max, columns_[c].header.size())));
    used += widths.back() + kGap;
  }
  widths.push_back(std::max(kLastColumnMin, kScreenColumns - std::min(used, kScreenColumns)));

  const Column& last = columns_.back();
  std::size_t last_widest = last.header.size();
  for (const Row& row : rows_) last_widest = std::max(last_widest, row.cells.back().size());
  const std::size_t last_pad = last.right ? std::min(last_widest, widths.back()) : 0;

  std::string out;
  const auto append_row = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t c = 0; c + 1 < columns_.size(); ++c)
      line += pad(cut(cells[c], widths[c]), widths[c], columns_[c].right) + std::string(kGap, ' ');
    for (const std::string& part : wrap(cells.back(), widths.back())) {
      append_line(out, line + pad(part, last_pad, last.right));
      line = std::string(used, ' ');
    }
  };

  std::vector<std::string> headers;
  for (const Column& column : columns_) headers.push_back(column.header);
  append_row(headers);
  for (const Row& row : rows_) {
    append_row(row.cells);
    for (const std::string& note : row.notes)
      for (const std::string& part : wrap(note, widths.back()))
        append_line(out, std::string(used, ' ') + part);
  }
  return out;
}

}  // namespace specrep::tools
