#pragma once

#include <cstdint>
#include <string>

#include "libspecrep/xen/domain_config.h"

namespace specrep::xen {

// Most of an activation is Xen's script vif-bridge: some thirty processes one after the other, for
// each network card. tools/vif-bridge.cc does the same in one. The guest's configuration names it
// only while libxl finishes the domain, so that the guest depends on nothing of specrep's later.

// Whether the script on this host, with what it includes, is one that the stand-in was written
// after: byte by byte, since an administrator may have changed it.
bool knows_vif_bridge();

// Names the program `stand_in` in place of the script for each card that uses it. Returns for how
// many.
unsigned use_stand_in(DomainConfig& config, const std::string& stand_in);

// Puts the script's name back, wherever libxl has noted the other one. Throws Error.
void put_back_vif_bridge(const Libxl& libxl, std::uint32_t domid, const std::string& stand_in);

}  // namespace specrep::xen
