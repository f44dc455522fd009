#pragma once

#include <vector>

#include "libspecrep/pool/agent.h"
#include "libspecrep/xen/handles.h"

namespace specrep::tools {

// The guests that this host runs and the copies that it keeps, of the pool or not.
std::vector<pool::GuestSeen> look_at_host(const xen::Libxl& libxl);

// Ends the copy of a guest that this host keeps: specrep-backup tells the other side. Returns
// whether there was one.
bool discard_copy(const std::string& uuid);

}  // namespace specrep::tools
