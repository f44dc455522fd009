#pragma once

#include <optional>
#include <string>

#include "libspecrep/error.h"

namespace specrep::xl {

// Of xl remus-spec-receive, besides 0: the copy of the guest is gone; and: it may run, or may not.
// No program on the way (ssh, a shell, what -s names) ends with the first when the network fails.
inline constexpr int kEndedWithoutCopy = 73;
inline constexpr int kDiedActivating = 74;
inline constexpr int kSshFailed = 255;  // its exit status when it did not get through: ssh(1)

// How the attempt to talk to specrep on the other host went wrong, as seen from here.
struct FarFailure {
  std::string host;
  bool own_command = false;   // -s: what runs is the operator's, so ssh may have no part in it
  std::optional<int> status;  // of ssh, as of waitpid(); nothing while it runs
  std::string garbage;        // what FdChannel says of what is no message; empty if nothing came
  std::string last_line;      // of what ssh and the far side wrote to stderr
  bool greeted = false;       // the far side had said Hello
};

// One error that tells the most likely cause, and what to do about it.
Error explain(const FarFailure& failure);

}  // namespace specrep::xl
