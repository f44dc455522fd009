#pragma once

#include <cstdint>
#include <ostream>
#include <string>

namespace specrep::xl {

// Shows how far the first copy of a guest is: its memory, what of that changed meanwhile, its
// disks, one after the other. On a terminal one line that is redrawn; elsewhere, for logs, a line
// each ten per cent.
class CopyProgress {
 public:
  CopyProgress(std::ostream& out, bool terminal) : out_(out), terminal_(terminal) {}

  struct Sample {
    std::string what;  // is copied: a new one begins a new line
    std::uint64_t bytes_done = 0;
    std::uint64_t bytes_total = 0;
  };
  void show(const Sample& sample);

  // Leaves the line, so that others can write. To be called before anything else is printed.
  void interrupt();

 private:
  std::ostream& out_;
  bool terminal_;
  bool on_line_ = false;
  std::string what_;
  std::uint64_t tenths_shown_ = 0;
};

}  // namespace specrep::xl
