#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "libspecrep/guest/page.h"

namespace specrep::model {

// The recent past of every page, in two bytes a page: when it was last written, and a pattern of
// eight bits that a predictor can index a table with.
//
//   bits 0-3  written in the newest sample, the one before, …; bit 0 is the newest
//   bits 4-7  written after the last sample of the newest epoch that has ended, of the one
//             before, …; bit 4 is the newest: such pages were part of the residual whatever
//             was sent. The pages that the guest's own suspend dirties are here in every epoch.
//
// A page is touched only when it is written: what time has passed since is worked out from the
// number of the sample in which that was, so that work goes with dirty pages and not with the
// guest's size. That number is kept modulo 256; a page that was not written for exactly a
// multiple of 256 samples (and a few more) looks young once. This costs a wrong guess, and
// never a wrong page.
class PageHistory {
 public:
  explicit PageHistory(Gfn gfn_count) : pages_(gfn_count) {}

  // A sample begins: the pages in it are then told by write(). Numbers ascend by one, modulo
  // 256, and the newest is stamp().
  void begin_sample() {
    ++sample_;
    epoch_of_sample_[sample_] = epoch_;
    last_[sample_] = false;
  }
  // The same for the sample at the end of the epoch, with the guest stopped.
  void begin_final_sample() {
    begin_sample();
    last_[sample_] = true;
  }
  void end_epoch() { ++epoch_; }

  void write(Gfn gfn) {
    Page& page = pages_[gfn];
    const std::uint8_t past = aged(page);
    page.pattern = static_cast<std::uint8_t>(past | 1);
    page.stamp = sample_;
  }

  // The page's pattern as of the newest sample.
  std::uint8_t pattern(Gfn gfn) const { return aged(pages_[gfn]); }

  std::uint8_t stamp() const { return sample_; }
  // The sample in which the page was last written.
  std::uint8_t stamp(Gfn gfn) const { return pages_[gfn].stamp; }

  static constexpr std::size_t kBytesPerPage = 2;

 private:
  struct Page {
    std::uint8_t pattern = 0;
    std::uint8_t stamp = 0;
  };
  static_assert(sizeof(Page) == kBytesPerPage);

  std::uint8_t aged(const Page& page) const {
    const std::uint8_t samples = static_cast<std::uint8_t>(sample_ - page.stamp);
    const std::uint8_t epochs = static_cast<std::uint8_t>(epoch_ - epoch_of_sample_[page.stamp]);
    const unsigned recent = samples < 4 ? (page.pattern & 0x0fu) << samples & 0x0fu : 0;
    unsigned ends = 0;
    if (epochs < 5) {
      // What bit 0 meant then becomes an end bit once that epoch is over.
      const unsigned with_own = (page.pattern & 0xf0u) | (last_[page.stamp] ? 0x08u : 0u);
      ends = epochs == 0 ? page.pattern & 0xf0u : with_own << epochs & 0xf0u;
    }
    return static_cast<std::uint8_t>(recent | ends);
  }

  std::vector<Page> pages_;
  std::uint8_t sample_ = 0;
  std::uint8_t epoch_ = 0;
  std::array<std::uint8_t, 256> epoch_of_sample_{};
  std::array<bool, 256> last_{};
};

}  // namespace specrep::model
