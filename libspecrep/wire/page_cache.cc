#include "libspecrep/wire/page_cache.h"

#include <bit>
#include <string>

#include "libspecrep/error.h"

namespace specrep::wire {

PageCache::PageCache(std::size_t capacity) : capacity_(capacity) {
  if (capacity > kCapacityMax)
    throw Error("a page cache of " + std::to_string(capacity) + " pages was asked for; at most " +
                std::to_string(kCapacityMax) + " are possible");
  if (capacity == 0) return;
  const std::size_t size = std::bit_ceil(2 * capacity);
  index_.assign(size, kNone);
  index_shift_ = 64 - static_cast<unsigned>(std::countr_zero(size));
}

// Fibonacci hashing: neighbouring page numbers, which come together, spread over the index.
std::size_t PageCache::home(Gfn gfn) const {
  return static_cast<std::size_t>((gfn * 0x9e3779b97f4a7c15u) >> index_shift_);
}

PageCache::Slot PageCache::find(Gfn gfn) const {
  if (pages_ == 0) return kNone;
  const std::size_t last = index_.size() - 1;
  for (std::size_t at = home(gfn);; at = (at + 1) & last) {
    const Slot slot = index_[at];
    if (slot == kNone || entries_[slot].gfn == gfn) return slot;
  }
}

void PageCache::index_add(Slot slot) {
  const std::size_t last = index_.size() - 1;
  std::size_t at = home(entries_[slot].gfn);
  while (index_[at] != kNone) at = (at + 1) & last;
  index_[at] = slot;
}

// Closes the gap with those behind it that may stand there, so that no tombstones are needed.
void PageCache::index_remove(Slot slot) {
  const std::size_t last = index_.size() - 1;
  std::size_t gap = home(entries_[slot].gfn);
  while (index_[gap] != slot) gap = (gap + 1) & last;
  for (std::size_t at = (gap + 1) & last; index_[at] != kNone; at = (at + 1) & last) {
    const std::size_t wanted = home(entries_[index_[at]].gfn);
    if (((at - wanted) & last) < ((at - gap) & last)) continue;
    index_[gap] = index_[at];
    gap = at;
  }
  index_[gap] = kNone;
}

void PageCache::link_newest(Slot slot) {
  entries_[slot].newer = kNone;
  entries_[slot].older = newest_;
  (newest_ == kNone ? oldest_ : entries_[newest_].newer) = slot;
  newest_ = slot;
}

void PageCache::unlink(Slot slot) {
  const Entry& entry = entries_[slot];
  (entry.newer == kNone ? newest_ : entries_[entry.newer].older) = entry.older;
  (entry.older == kNone ? oldest_ : entries_[entry.older].newer) = entry.newer;
}

void PageCache::touch(Slot slot) {
  if (slot == newest_) return;
  unlink(slot);
  link_newest(slot);
}

PageCache::Slot PageCache::insert(Gfn gfn) {
  if (pages_ == capacity_) erase(oldest_);
  Slot slot = free_;
  if (slot != kNone) {
    free_ = entries_[slot].older;
  } else {
    slot = static_cast<Slot>(entries_.size());
    if (slot == slabs_.size() * kSlabPages)
      slabs_.push_back(std::make_unique_for_overwrite<std::byte[]>(kSlabPages * kPageBytes));
    entries_.emplace_back();
  }
  entries_[slot].gfn = gfn;
  index_add(slot);
  link_newest(slot);
  ++pages_;
  return slot;
}

void PageCache::erase(Slot slot) {
  index_remove(slot);
  unlink(slot);
  entries_[slot].older = free_;
  free_ = slot;
  --pages_;
}

}  // namespace specrep::wire
