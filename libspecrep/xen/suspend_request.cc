#include "libspecrep/xen/suspend_request.h"

#include <cerrno>

#include "libspecrep/error.h"

namespace specrep::xen {

namespace {

constexpr const char* kSuspend = "suspend";

std::string node(std::uint32_t domid) {
  return "/local/domain/" + std::to_string(domid) + "/control/shutdown";
}

}  // namespace

void request_suspend(Xenstore& store, std::uint32_t domid) { store.write(node(domid), kSuspend); }

bool cancel_suspend_request(Xenstore& store, std::uint32_t domid) {
  for (;;) {
    const xs_transaction_t t = xs_transaction_start(store.get());
    if (t == XBT_NULL) throw Error(errno_text("starting a xenstore transaction"));
    bool pending = false;
    try {
      pending = store.read(node(domid), t) == kSuspend;
      if (pending) store.write(node(domid), "", t);
    } catch (...) {
      xs_transaction_end(store.get(), t, true);
      throw;
    }
    if (xs_transaction_end(store.get(), t, !pending)) return pending;
    if (errno != EAGAIN) throw Error(errno_text("taking back the suspend request"));
  }
}

}  // namespace specrep::xen
