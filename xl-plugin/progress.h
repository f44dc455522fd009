#pragma once

#include <cstdint>
#include <ostream>
#include <string>

namespace specrep::xl {

// Shows how far the first copy of a guest's memory is. On a terminal one line that is redrawn;
// elsewhere, for logs, a line each ten per cent. Memory that changed meanwhile is copied in further
// rounds, which are shown in the same way.
class CopyProgress {
 public:
  CopyProgress(std::ostream& out, bool terminal) : out_(out), terminal_(terminal) {}

  struct Sample {
    std::uint64_t round = 1;
    std::uint64_t pages_done = 0;
    std::uint64_t pages_total = 0;
  };
  void show(const Sample& sample);

  // Leaves the line, so that others can write. To be called before anything else is printed.
  void interrupt();

 private:
  std::ostream& out_;
  bool terminal_;
  bool on_line_ = false;
  std::uint64_t round_ = 0;
  std::uint64_t tenths_shown_ = 0;
};

}  // namespace specrep::xl
