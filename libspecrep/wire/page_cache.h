#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "libspecrep/guest/page.h"

namespace specrep::wire {

// The newest contents of up to `capacity` pages; the least recently used makes room for a new
// one. Which pages it holds depends on nothing but the calls that were made, so that two caches
// of one capacity that see the same calls hold the same pages.
//
// A page lives in a slot, and a slot's number is good until that page is erased or evicted.
// Nothing is allocated for a page but its share of a slab, and a slab only when it is needed.
class PageCache {
 public:
  using Slot = std::uint32_t;
  static constexpr Slot kNone = ~Slot{0};
  // What a Slot can number, with room for the index to be twice as large.
  static constexpr std::size_t kCapacityMax = std::size_t{1} << 30;

  // Throws Error beyond kCapacityMax.
  explicit PageCache(std::size_t capacity);

  std::size_t capacity() const { return capacity_; }
  std::size_t pages() const { return pages_; }

  // kNone when the page is not there. Changes nothing: the order of use is for touch().
  Slot find(Gfn gfn) const;

  // kPageBytes.
  std::byte* data(Slot slot) { return slab(slot) + slot % kSlabPages * kPageBytes; }
  const std::byte* data(Slot slot) const { return slab(slot) + slot % kSlabPages * kPageBytes; }

  // Makes the page the most recently used.
  void touch(Slot slot);

  // A slot for a page that is not there, most recently used, contents undefined: the caller
  // writes them. The capacity must not be 0.
  Slot insert(Gfn gfn);

  void erase(Slot slot);

 private:
  static constexpr std::size_t kSlabPages = 256;  // 1 MiB

  struct Entry {
    Gfn gfn;
    Slot newer, older;  // in the order of use; `older` also links the free slots
  };

  std::byte* slab(Slot slot) const { return slabs_[slot / kSlabPages].get(); }
  std::size_t home(Gfn gfn) const;
  void index_add(Slot slot);
  void index_remove(Slot slot);
  void link_newest(Slot slot);
  void unlink(Slot slot);

  std::size_t capacity_;
  std::size_t pages_ = 0;
  // Open addressing with linear probing; a power of two, at least twice the capacity.
  std::vector<Slot> index_;
  unsigned index_shift_ = 0;
  std::vector<Entry> entries_;
  std::vector<std::unique_ptr<std::byte[]>> slabs_;
  Slot newest_ = kNone, oldest_ = kNone, free_ = kNone;
};

}  // namespace specrep::wire
