#include "xl-plugin/progress.h"

#include <algorithm>

#include "libspecrep/guest/page.h"

namespace specrep::xl {

namespace {

constexpr std::size_t kBarCells = 30;

std::uint64_t mebibytes(std::uint64_t pages) { return (pages * kPageBytes + (1 << 20) - 1) >> 20; }

}  // namespace

void CopyProgress::show(const Sample& sample) {
  const std::uint64_t total = std::max<std::uint64_t>(sample.pages_total, 1);
  const std::uint64_t done = std::min(sample.pages_done, total);
  const std::uint64_t percent = sample.pages_total == 0 ? 100 : done * 100 / total;
  const std::string what =
      sample.round <= 1 ? "copying memory"
                        : "copying what changed (round " + std::to_string(sample.round) + ")";
  const std::string amount = std::to_string(mebibytes(done)) + " of " +
                             std::to_string(mebibytes(sample.pages_total)) + " MiB";
  if (sample.round != round_) {
    interrupt();
    round_ = sample.round;
    tenths_shown_ = 0;
  }
  if (terminal_) {
    const std::size_t full = percent * kBarCells / 100;
    out_ << '\r' << what << " [" << std::string(full, '#') << std::string(kBarCells - full, '.')
         << "] " << percent << " %, " << amount << "\x1b[K" << std::flush;
    on_line_ = true;
    return;
  }
  const std::uint64_t tenths = percent / 10;
  if (tenths <= tenths_shown_) return;
  tenths_shown_ = tenths;
  out_ << what << ": " << percent << " %, " << amount << std::endl;
}

void CopyProgress::interrupt() {
  if (on_line_) out_ << std::endl;
  on_line_ = false;
}

}  // namespace specrep::xl
