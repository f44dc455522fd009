#pragma once

#include <cstddef>
#include <string>

// Not installed: small files of a pool's hosts.
namespace specrep::pool {

// Throws Error with `advice` when it cannot be read or is longer.
std::string read_file(const std::string& path, std::size_t bytes_max, const std::string& advice);

// In one step: after a crash either the old or the new text is there. Makes the folder. `mode` as
// of chmod(2). Throws Error.
void replace_file(const std::string& path, const std::string& text, unsigned mode);

}  // namespace specrep::pool
