// A pool's file from anywhere: read, or refused with mistakes that name lines of it.

#include <algorithm>

#include "input.h"
#include "libspecrep/pool/config.h"
#include "libspecrep/pool/plan.h"

using namespace specrep;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  const pool::Reading reading = pool::read_config(text);
  for (const pool::Mistake& mistake : reading.mistakes) {
    fuzz::require(mistake.line >= 1 && mistake.line <= lines, "a mistake is in the file");
    fuzz::require(!mistake.what.empty() && !mistake.cure.empty(), "a mistake has a cure");
  }
  if (!reading.mistakes.empty()) return 0;
  reading.config.coordinator();
  for (const pool::Vm& vm : reading.config.vms) reading.config.allowed_hosts(vm);
  return 0;
}
