#pragma once

#include <cstdint>

#include "libspecrep/guest/page_bitmap.h"

namespace specrep::xen {

// Sets `present` to the gfns of a PVH or HVM domain that are backed by ordinary memory. Asks
// XEN_DOMCTL_getpageframeinfo3 (Xen's public/domctl.h), 1,024 frames a call, since libxenctrl
// keeps its wrapper of it to itself. Throws Error.
void find_populated(std::uint32_t domid, PageBitmap& present);

}  // namespace specrep::xen
