#pragma once

#include <cstdint>

#include "libspecrep/xen/handles.h"

namespace specrep::xen {

// Asks a guest with PV drivers, through control/shutdown in xenstore, to suspend itself. False,
// and nothing is asked, while another request (a shutdown by the administrator) waits there for
// the guest to take it: writing over it would lose it.
bool request_suspend(Xenstore& store, std::uint32_t domid);

// Takes the request back. False when there is none, or the guest has taken it: then it will
// suspend.
bool cancel_suspend_request(Xenstore& store, std::uint32_t domid);

}  // namespace specrep::xen
