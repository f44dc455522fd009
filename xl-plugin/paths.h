#pragma once

#include <string>

namespace specrep::xl {

// Where the programs are that these commands start: libexecdir/specrep, or for tests what
// SPECREP_LIBEXEC says.
std::string program_path(const std::string& name);

}  // namespace specrep::xl
