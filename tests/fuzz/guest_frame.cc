// A frame that a guest sends: an address that it claims is read, or nothing; what announces that
// address says the same.

#include <algorithm>

#include "input.h"
#include "libspecrep/output/announcement.h"

using namespace specrep;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto claimed = output::claimed_address(std::as_bytes(std::span(data, size)));
  if (!claimed) return 0;
  fuzz::require(std::equal(claimed->mac.begin(), claimed->mac.end(), data + claimed->mac.size()),
                "the card is the frame's sender");
  fuzz::require(
      std::any_of(claimed->ip.begin(), claimed->ip.end(), [](std::uint8_t byte) { return byte; }),
      "an address is not the unspecified one");
  const output::Frame frame = output::announcement(*claimed);
  fuzz::require(output::claimed_address(frame) == claimed, "what is announced is what was claimed");
  return 0;
}
