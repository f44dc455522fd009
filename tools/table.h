#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace specrep::tools {

inline constexpr std::size_t kScreenColumns = 80;

// Breaks text at blanks so that no line is longer than `width`; what has no blank is broken
// where it must.
std::vector<std::string> wrap(const std::string& text, std::size_t width);

// A table for a terminal, at most kScreenColumns wide: every column but the last is as wide as
// its widest cell, up to its limit; the last takes what is left and wraps.
class Table {
 public:
  struct Column {
    std::string header;
    bool right = false;          // aligned, for numbers
    std::size_t width_max = 32;  // longer cells are cut and end in ".."
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as columns. Cells and notes are made printable.
  void add(std::vector<std::string> cells);
  // Text under the last row, in its last column.
  void note(const std::string& text);

  std::string text() const;

 private:
  struct Row {
    std::vector<std::string> cells;
    std::vector<std::string> notes;
  };
  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

}  // namespace specrep::tools
