#pragma once

#include <string>

namespace specrep::xen {

// As its administrator named it.
std::string host_name();

// What an arbiter knows this host by (see libspecrep/arbiter/arbiter.h): always the same, and no
// other host's even where host names are.
std::string claimant();

}  // namespace specrep::xen
