#pragma once

#include <cstdint>
#include <string>

namespace specrep::xl {

// Before the guest's name: opens the network of a held guest, and lets it run.
inline constexpr const char* kStopForced = "xl remus-spec-stop --force ";

// Whether a domain exists, and what it sends is held.
bool is_held(std::uint32_t domid);

// What to look at on `host`, which may run the guest, and that `go_on` is the command that lets it
// go on here.
std::string held_advice(const std::string& name, const std::string& host, const std::string& go_on);

// What the guest sent last is held since nobody was left to find out whether its copy runs.
[[noreturn]] void refuse_held(const std::string& name, const std::string& host);

}  // namespace specrep::xl
