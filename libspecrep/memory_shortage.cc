#include "libspecrep/memory_shortage.h"

#include <linux/oom.h>
#include <sys/mman.h>

#include <cerrno>
#include <fstream>

#include "libspecrep/error.h"

namespace specrep {

std::string outlive_memory_shortage() {
  std::string refused;
  const auto note = [&refused](const std::string& what) {
    refused += (refused.empty() ? "" : "; ") + errno_text(what);
  };
  // What is never touched, such as room for stacks, need not be there.
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) note("keeping this process in memory");
  std::ofstream score("/proc/self/oom_score_adj");
  if (!(score << OOM_SCORE_ADJ_MIN << std::flush)) note("having others killed first");
  return refused;
}

}  // namespace specrep
