#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>

namespace specrep::tools {

// A second process that outlives this one, however this one ends: a guest that was left paused
// is unpaused, and its dirty log turned off. To be made before any other thread.
class Rescuer {
 public:
  Rescuer();
  ~Rescuer();  // nothing is left to do for it by then, or it does it
  Rescuer(const Rescuer&) = delete;
  Rescuer& operator=(const Rescuer&) = delete;

  // What would have to be undone. Set before it is done, and cleared after it is undone.
  struct Owed {
    std::atomic<std::uint32_t> domid;
    std::atomic<bool> paused;
    std::atomic<bool> logging;
  };
  Owed& owed() { return *owed_; }

 private:
  Owed* owed_;  // shared by both
  int alive_;   // our end of the pipe whose closing tells that we are gone
  pid_t child_;
};

}  // namespace specrep::tools
