#include "libspecrep/xen/grant_table.h"

#include <sys/mman.h>

#include <algorithm>

#include "libspecrep/error.h"

extern "C" {
#include <xen/grant_table.h>
#include <xen/memory.h>
}

namespace specrep::xen {

GrantTable::GrantTable(const Xenctrl& xc, const ForeignMemory& memory, std::uint32_t domid)
    : xc_(xc), memory_(memory), domid_(domid) {
  if (xc_gnttab_get_version(xc_.get(), domid_) == 2)
    throw Error("domain " + std::to_string(domid_) + " uses version 2 of Xen's grant tables",
                "boot the guest with version 1, for Linux: xen_grant_table.version=1, or limit "
                "it with max_grant_version=1 in its configuration");
}

GrantTable::~GrantTable() { unmap(); }

void GrantTable::unmap() {
  if (resource_) xenforeignmemory_unmap_resource(memory_.get(), resource_);
  resource_ = nullptr;
  frames_ = 0;
}

void GrantTable::map(unsigned frames) {
  unmap();
  resource_ = xenforeignmemory_map_resource(
      memory_.get(), static_cast<domid_t>(domid_), XENMEM_resource_grant_table,
      XENMEM_resource_grant_table_id_shared, 0, frames, &table_, PROT_READ, 0);
  if (!resource_)
    throw Error(errno_text("cannot read the grant table of domain " + std::to_string(domid_)));
  frames_ = frames;
}

unsigned GrantTable::frame_count() const {
  gnttab_query_size query{};
  query.dom = static_cast<domid_t>(domid_);
  if (xc_gnttab_query_size(xc_.get(), &query) || query.status != GNTST_okay)
    throw Error("cannot ask for the grant table's size of domain " + std::to_string(domid_));
  return query.nr_frames;
}

std::vector<Gfn> GrantTable::frames() {
  const unsigned count = frame_count();
  xc_hypercall_buffer_t buffer{};
  auto* list = static_cast<xen_pfn_t*>(
      xc__hypercall_buffer_alloc(xc_.get(), &buffer, count * sizeof(xen_pfn_t)));
  if (!list) throw Error(errno_text("cannot allocate memory for a hypercall"));
  // Asked for as many frames as there are, this changes nothing and tells where they are.
  gnttab_setup_table setup{};
  setup.dom = static_cast<domid_t>(domid_);
  setup.nr_frames = count;
  set_xen_guest_handle_raw(setup.frame_list, list);
  const int failed = xc_gnttab_op(xc_.get(), GNTTABOP_setup_table, &setup, sizeof setup, 1);
  std::vector<Gfn> frames(list, list + count);
  xc__hypercall_buffer_free(xc_.get(), &buffer);
  if (failed || setup.status != GNTST_okay)
    throw Error("cannot ask where domain " + std::to_string(domid_) + " sees its grant table");
  std::sort(frames.begin(), frames.end());
  return frames;
}

void GrantTable::add_mapped_writable(PageBitmap& pages) {
  const unsigned frames = frame_count();
  if (frames != frames_) map(frames);

  const auto* entries = static_cast<const volatile grant_entry_v1_t*>(table_);
  const std::size_t count = frames_ * (kPageBytes / sizeof(grant_entry_v1_t));
  for (std::size_t i = 0; i < count; ++i) {
    if (!(entries[i].flags & GTF_writing)) continue;
    // Read once: a backend may be writing here for the guest even now, and what was within the
    // bitmap would be so no more.
    const Gfn frame = entries[i].frame;
    if (frame < pages.gfn_count()) pages.set(frame);
  }
}

}  // namespace specrep::xen
