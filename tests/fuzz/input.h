#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <iostream>
#include <vector>

#include "libspecrep/wire/message.h"

namespace specrep::fuzz {

// What must hold for every input. Not assert(), which a build can leave out.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "does not hold: " << what << "\n";
  std::abort();
}

inline std::vector<std::byte> bytes(FuzzedDataProvider& input, std::size_t most) {
  return input.ConsumeBytes<std::byte>(input.ConsumeIntegralInRange<std::size_t>(0, most));
}

// A number that is mostly small, and now and then any at all: what a check must catch is at both
// ends.
inline std::uint64_t number(FuzzedDataProvider& input, std::uint64_t small) {
  return input.ConsumeIntegral<std::uint8_t>() == 0
             ? input.ConsumeIntegral<std::uint64_t>()
             : input.ConsumeIntegralInRange<std::uint64_t>(0, small);
}

// Any message at all, as bytes of the input say.
inline wire::Message any_message(FuzzedDataProvider& input) {
  wire::Message message;
  const std::string text = input.ConsumeRandomLengthString(256);
  message.envelope.ParseFromString(text);
  message.payload = bytes(input, 256);
  return message;
}

}  // namespace specrep::fuzz
