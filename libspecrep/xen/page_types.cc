#include "libspecrep/xen/page_types.h"

#include <algorithm>
#include <memory>

#include "libspecrep/error.h"
#include "libspecrep/xen/handles.h"

extern "C" {
#include <xen/domctl.h>
#include <xencall.h>
}

namespace specrep::xen {

namespace {

constexpr std::size_t kFramesPerCall = 1024;  // Xen takes no more

// Memory that the hypervisor can read and write, for the request and the list of frames.
struct Call {
  Call() : handle(xencall_open(nullptr, 0)) {
    if (!handle) throw Error(errno_text("cannot open Xen's hypercall device"));
    domctl = static_cast<xen_domctl_t*>(xencall_alloc_buffer(handle, sizeof *domctl));
    frames =
        static_cast<xen_pfn_t*>(xencall_alloc_buffer(handle, kFramesPerCall * sizeof(xen_pfn_t)));
    if (!domctl || !frames) {
      release();
      throw Error(errno_text("cannot allocate memory for a hypercall"));
    }
  }
  ~Call() { release(); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  void release() {
    if (frames) xencall_free_buffer(handle, frames);
    if (domctl) xencall_free_buffer(handle, domctl);
    xencall_close(handle);
  }

  xencall_handle* handle;
  xen_domctl_t* domctl = nullptr;
  xen_pfn_t* frames = nullptr;
};

}  // namespace

void find_populated(std::uint32_t domid, PageBitmap& present) {
  present.clear();
  const Call call;
  for (Gfn first = 0; first < present.gfn_count(); first += kFramesPerCall) {
    const auto count = std::min<Gfn>(kFramesPerCall, present.gfn_count() - first);
    for (Gfn i = 0; i < count; ++i) call.frames[i] = first + i;
    *call.domctl = {};
    call.domctl->cmd = XEN_DOMCTL_getpageframeinfo3;
    call.domctl->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    call.domctl->domain = static_cast<domid_t>(domid);
    call.domctl->u.getpageframeinfo3.num = count;
    set_xen_guest_handle_raw(call.domctl->u.getpageframeinfo3.array, call.frames);
    if (xencall1(call.handle, __HYPERVISOR_domctl, reinterpret_cast<std::uint64_t>(call.domctl)))
      throw Error(errno_text("cannot ask for the page types of domain " + std::to_string(domid)));
    for (Gfn i = 0; i < count; ++i) {
      if (call.frames[i] == XEN_DOMCTL_PFINFO_NOTAB) present.set(first + i);
    }
  }
}

}  // namespace specrep::xen
