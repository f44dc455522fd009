// Preloaded into a program, keeps that, and not what it starts, from letting a suspended guest run again.

#include <cerrno>
#include <cstdint>
#include <cstdlib>

namespace {

__attribute__((constructor)) void stay_here() { unsetenv("LD_PRELOAD"); }

}  // namespace

// libxenctrl's.
extern "C" int xc_domain_resume(void*, std::uint32_t, int) {
  errno = EBUSY;
  return -1;
}
