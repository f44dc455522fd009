#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// What a host and its guests are, as xl and the kernel say, for those who do not want to type it.
namespace specrep::tools {

// What a command prints; nothing when it fails.
std::optional<std::string> output_of(const std::vector<std::string>& command);

// Without its domain. Throws Error.
std::string host_name();
// The address from which this host reaches another, or the internet. Throws Error.
std::string own_address(const std::string& other);
// For guests, when none runs. Throws Error.
std::uint64_t memory_for_guests_mib();
std::string make_uuid();

struct GuestFacts {
  std::string uuid;
  std::uint64_t memory_mib = 0;  // with what Xen needs besides
};
// Of the running domain; if there is none here, of the configuration file, and the uuid may be
// empty. Throws Error.
GuestFacts guest_facts(const std::string& name, const std::string& config_path);

}  // namespace specrep::tools
