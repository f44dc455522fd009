#pragma once

#include <cstdint>
#include <string>

namespace specrep::xen {

// Stays with a domain as the process behind `xl create` does: when the guest shuts down,
// reboots or crashes, does what its configuration says (destroy, restart, preserve, with a core
// dump or without). Returns when the domain is gone for good, or kept as it is.
//
// domain_config_json: as libxl_domain_config_to_json() writes it, with the guest's own name.
// Throws Error when libxl fails.
void monitor_domain(std::uint32_t domid, const std::string& domain_config_json);

}  // namespace specrep::xen
