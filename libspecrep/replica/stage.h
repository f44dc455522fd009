#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "libspecrep/guest/guest.h"
#include "libspecrep/guest/page.h"

namespace specrep::replica {

// The pages of one epoch on the backup, newest version of each, apart from everything that was
// committed. Its memory is bounded by the pages that the epoch touched; slabs keep page data
// where it was first put, so that nothing is copied again until it is loaded into the domain.
class Stage {
 public:
  // data: kPageBytes.
  void put(Gfn gfn, const std::byte* data);

  std::size_t pages() const { return slot_of_.size(); }
  std::size_t bytes() const { return slabs_.size() * kSlabPages * kPageBytes; }
  void clear();

  struct Page {
    Gfn gfn;
    const std::byte* data;
  };
  // Ascending by gfn. Valid until the next put() or clear().
  std::vector<Page> sorted() const;

 private:
  static constexpr std::size_t kSlabPages = 256;  // 1 MiB
  std::byte* slot(std::size_t index) const {
    return slabs_[index / kSlabPages].get() + index % kSlabPages * kPageBytes;
  }

  std::unordered_map<Gfn, std::size_t> slot_of_;
  std::vector<std::unique_ptr<std::byte[]>> slabs_;
};

// An epoch that the backup has whole.
struct CommittedEpoch {
  Epoch epoch = 0;
  Stage pages;
  guest::State state;

  // What it takes of memory while it waits.
  std::size_t bytes() const { return sizeof *this + pages.bytes() + state.bytes(); }
};

}  // namespace specrep::replica
