#include "xl-plugin/progress.h"

#include <algorithm>

namespace specrep::xl {

namespace {

constexpr std::size_t kBarCells = 30;

std::uint64_t mebibytes(std::uint64_t bytes) { return (bytes + (1 << 20) - 1) >> 20; }

}  // namespace

void CopyProgress::show(const Sample& sample) {
  const std::uint64_t total = std::max<std::uint64_t>(sample.bytes_total, 1);
  const std::uint64_t done = std::min(sample.bytes_done, total);
  const std::uint64_t percent = sample.bytes_total == 0 ? 100 : done * 100 / total;
  const std::string what = "copying " + sample.what;
  const std::string amount = std::to_string(mebibytes(done)) + " of " +
                             std::to_string(mebibytes(sample.bytes_total)) + " MiB";
  if (sample.what != what_) {
    interrupt();
    what_ = sample.what;
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
