#include "libspecrep/xen/grant_table.h"

#include <sys/mman.h>

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
  resource_ = xenforeignmemory_map_resource(memory_.get(), static_cast<domid_t>(domid_),
                                            XENMEM_resource_grant_table,
                                            XENMEM_resource_grant_table_id_shared, 0, frames,
                                            &table_, PROT_READ, 0);
  if (!resource_)
    throw Error(errno_text("cannot read the grant table of domain " + std::to_string(domid_)));
  frames_ = frames;
}

void GrantTable::add_mapped_writable(PageBitmap& pages) {
  gnttab_query_size query{};
  query.dom = static_cast<domid_t>(domid_);
  if (xc_gnttab_query_size(xc_.get(), &query) || query.status != GNTST_okay)
    throw Error("cannot ask for the grant table's size of domain " + std::to_string(domid_));
  if (query.nr_frames != frames_) map(query.nr_frames);

  const auto* entries = static_cast<const volatile grant_entry_v1_t*>(table_);
  const std::size_t count = frames_ * (kPageBytes / sizeof(grant_entry_v1_t));
  for (std::size_t i = 0; i < count; ++i) {
    if ((entries[i].flags & GTF_writing) && entries[i].frame < pages.gfn_count())
      pages.set(entries[i].frame);
  }
}

}  // namespace specrep::xen
