// Bytes from another host of the pool: frames are bounded, and what was read says the same when it
// is written.

#include <algorithm>

#include "input.h"
#include "libspecrep/pool/service_frame.h"

using namespace specrep;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // In pieces of this many bytes, as a socket may hand them over.
  const std::size_t piece = std::size_t{data[0]} + 1;
  const auto all = std::as_bytes(std::span(data + 1, size - 1));
  pool::ServiceFrameDecoder decoder;
  std::vector<pool::ServiceFrame> frames;
  try {
    for (std::size_t at = 0; at < all.size(); at += piece)
      decoder.feed(all.subspan(at, std::min(piece, all.size() - at)), frames);
  } catch (const Error&) {
  }
  std::vector<std::byte> written;
  for (const pool::ServiceFrame& frame : frames) {
    fuzz::require(frame.bytes.size() <= pool::kFrameBytesMax, "frames are bounded");
    const auto bytes = pool::encode(frame);
    written.insert(written.end(), bytes.begin(), bytes.end());
  }
  fuzz::require(
      written.size() <= all.size() && std::equal(written.begin(), written.end(), all.begin()),
      "frames are what came");
  return 0;
}
