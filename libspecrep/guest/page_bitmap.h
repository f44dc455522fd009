#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "libspecrep/guest/page.h"

namespace specrep {

// A set of gfns as one bit each, in the layout of Xen's dirty log (bit gfn % 64 of 64-bit word
// gfn / 64, little-endian). Scanning runs at memory speed; everything else costs a step for
// each page in the set.
class PageBitmap {
 public:
  PageBitmap() = default;
  explicit PageBitmap(Gfn gfn_count) { resize(gfn_count); }

  void resize(Gfn gfn_count) {
    gfn_count_ = gfn_count;
    words_.assign((gfn_count + 63) / 64, 0);
  }

  Gfn gfn_count() const { return gfn_count_; }
  std::span<std::uint64_t> words() { return words_; }
  std::span<const std::uint64_t> words() const { return words_; }

  bool test(Gfn gfn) const { return words_[gfn / 64] >> (gfn % 64) & 1; }
  void set(Gfn gfn) { words_[gfn / 64] |= std::uint64_t{1} << (gfn % 64); }
  void reset(Gfn gfn) { words_[gfn / 64] &= ~(std::uint64_t{1} << (gfn % 64)); }
  void clear() { words_.assign(words_.size(), 0); }

  // Adds all pages of `other`, which has the same gfn_count.
  void merge(const PageBitmap& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  }

  std::uint64_t count() const {
    std::uint64_t n = 0;
    for (const auto word : words_) n += static_cast<std::uint64_t>(std::popcount(word));
    return n;
  }

  // Calls visit(gfn) for every page of the set, ascending.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    const auto visit_word = [&](std::size_t i) {
      for (auto word = words_[i]; word != 0; word &= word - 1)
        visit(Gfn{i} * 64 + static_cast<Gfn>(std::countr_zero(word)));
    };
    // Most of a large guest's log is zero, and is left behind a cache line at a time.
    constexpr std::size_t kStride = 8;
    std::size_t i = 0;
    for (; i + kStride <= words_.size(); i += kStride) {
      std::uint64_t any = 0;
      for (std::size_t j = 0; j < kStride; ++j) any |= words_[i + j];
      if (any == 0) continue;
      for (std::size_t j = 0; j < kStride; ++j) visit_word(i + j);
    }
    for (; i < words_.size(); ++i) visit_word(i);
  }

  // The pages of the set, ascending, in place of what `gfns` held.
  void list(std::vector<Gfn>& gfns) const {
    gfns.clear();
    for_each([&](Gfn gfn) { gfns.push_back(gfn); });
  }

 private:
  Gfn gfn_count_ = 0;
  std::vector<std::uint64_t> words_;
};

}  // namespace specrep
