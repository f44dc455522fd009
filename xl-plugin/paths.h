#pragma once

#include <string>

namespace specrep::xl {

// Where the programs are that these commands start: libexecdir/specrep, or for tests what
// SPECREP_LIBEXEC says.
std::string program_path(const std::string& name);

// Where specrep-primary notes that it has handed a guest over, and how that went.
std::string switchover_record(const std::string& guest_name);

}  // namespace specrep::xl
