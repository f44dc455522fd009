#pragma once

#include <cstdint>

#include "libspecrep/xen/handles.h"

namespace specrep::xen {

// Asks a guest with PV drivers, through control/shutdown in xenstore, to suspend itself.
void request_suspend(Xenstore& store, std::uint32_t domid);

// Takes the request back. False when there is none, or the guest has taken it: then it will
// suspend. In a transaction, since between a plain read and write the guest could take it.
bool cancel_suspend_request(Xenstore& store, std::uint32_t domid);

}  // namespace specrep::xen
