#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "xl-plugin/top_view.h"

namespace specrep::xl {

// The terminal as a whole, which is given back as it was by the destructor.
class Screen {
 public:
  // Null when the terminal (TERM) is not one that can be drawn on.
  static std::unique_ptr<Screen> open();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  std::size_t columns() const;
  std::size_t rows() const;
  void draw(const std::vector<TopLine>& lines);

  // A key that was pressed, kResized, or kNothing, at once. Worth a call whenever standard input
  // is readable or a signal came.
  static constexpr int kNothing = -1, kResized = -2;
  int key();

 private:
  Screen() = default;
};

}  // namespace specrep::xl
