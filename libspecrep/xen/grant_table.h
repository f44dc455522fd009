#pragma once

#include <cstdint>
#include <vector>

#include "libspecrep/guest/page_bitmap.h"
#include "libspecrep/xen/handles.h"

namespace specrep::xen {

// The pages of a guest that another domain has mapped writable right now, read from the guest's
// own grant table: Xen sets GTF_writing in an entry while such a mapping exists (Xen's
// public/grant_table.h). Writes through it (a network backend's answers in its ring, a block
// backend's persistent grants) do not show in the dirty log until it is unmapped, so these
// pages count as dirty in every epoch.
class GrantTable {
 public:
  // Throws Error when the guest uses version 2 of the table, which keeps these bits elsewhere.
  GrantTable(const Xenctrl& xc, const ForeignMemory& memory, std::uint32_t domid);
  ~GrantTable();
  GrantTable(const GrantTable&) = delete;
  GrantTable& operator=(const GrantTable&) = delete;

  // Adds those pages to `pages`. Costs a step for each entry that the guest's table has room
  // for now: 512 to 32,768.
  void add_mapped_writable(PageBitmap& pages);

  // Where the guest sees the table itself, ascending. Xen writes these pages (the bits of each
  // grant in use) and does not log it; a guest that is resumed sets its table up anew.
  std::vector<Gfn> frames();

 private:
  unsigned frame_count() const;
  void map(unsigned frames);
  void unmap();

  const Xenctrl& xc_;
  const ForeignMemory& memory_;
  std::uint32_t domid_;
  unsigned frames_ = 0;
  void* table_ = nullptr;
  xenforeignmemory_resource_handle* resource_ = nullptr;
};

}  // namespace specrep::xen
