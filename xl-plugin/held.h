#pragma once

#include <cstdint>
#include <string>

namespace specrep::xl {

// Whether a domain exists, and what it sends is held.
bool is_held(std::uint32_t domid);

// What the guest sent last is held since nobody was left to find out whether its copy runs.
[[noreturn]] void refuse_held(const std::string& name, const std::string& host);

}  // namespace specrep::xl
