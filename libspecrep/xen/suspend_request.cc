#include "libspecrep/xen/suspend_request.h"

#include <cerrno>

#include "libspecrep/error.h"

namespace specrep::xen {

namespace {

constexpr const char* kSuspend = "suspend";

std::string node(std::uint32_t domid) {
  return "/local/domain/" + std::to_string(domid) + "/control/shutdown";
}

// Writes `value` if the node holds `expected` (or nothing, for ""), in a transaction: between a
// plain read and write the guest, or an administrator, could change it. Whether it was written.
bool replace(Xenstore& store, std::uint32_t domid, const std::string& expected,
             const std::string& value) {
  for (;;) {
    const xs_transaction_t t = xs_transaction_start(store.get());
    if (t == XBT_NULL) throw Error(errno_text("starting a xenstore transaction"));
    bool found = false;
    try {
      found = store.read(node(domid), t).value_or("") == expected;
      if (found) store.write(node(domid), value, t);
    } catch (...) {
      xs_transaction_end(store.get(), t, true);
      throw;
    }
    if (xs_transaction_end(store.get(), t, !found)) return found;
    if (errno != EAGAIN) throw Error(errno_text("changing " + node(domid)));
  }
}

}  // namespace

bool request_suspend(Xenstore& store, std::uint32_t domid) {
  return replace(store, domid, "", kSuspend);
}

bool cancel_suspend_request(Xenstore& store, std::uint32_t domid) {
  return replace(store, domid, kSuspend, "");
}

}  // namespace specrep::xen
