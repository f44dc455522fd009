// Bytes from a peer: framing, envelopes, and what is read of a message without a state.

#include <algorithm>

#include "input.h"
#include "libspecrep/output/input_hold.h"
#include "libspecrep/wire/digests.h"
#include "libspecrep/wire/page_codec.h"

using namespace specrep;

namespace {

constexpr Gfn kGfnCount = 1 << 20;
constexpr std::size_t kPayloadBytesMax = 1 << 16;

// Both throw what they find; nothing else may happen.
void look_at(const wire::Message& message) {
  try {
    if (message.envelope.has_hello()) wire::negotiate(message);
    if (message.envelope.has_failure()) wire::to_error(message.envelope.failure(), "the peer");
    if (message.envelope.has_pages()) {
      const std::size_t pages = wire::check_pages(message, kGfnCount);
      fuzz::require(pages <= wire::kPagesPerMessageMax, "pages of a message are bounded");
    }
    if (message.envelope.has_input()) {
      std::size_t bytes = 0;
      for (const auto& frame : output::frames_of(message)) bytes += frame.size();
      fuzz::require(bytes == message.payload.size(), "each byte is in one frame");
    }
    if (message.envelope.has_digests()) {
      const wire::DigestsView view(message, kGfnCount);
      fuzz::require(view.digests.size() == view.gfns.size() * wire::kDigestBytes,
                    "a digest for each page");
      fuzz::require(std::is_sorted(view.gfns.begin(), view.gfns.end()), "gfns ascend");
      fuzz::require(view.gfns.empty() || view.gfns.back() < kGfnCount, "gfns are the guest's");
    }
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // In pieces of this many bytes, as a socket may hand them over.
  const std::size_t piece = std::size_t{data[0]} + 1;
  const auto all = std::as_bytes(std::span(data + 1, size - 1));
  wire::Decoder decoder;
  decoder.set_payload_bytes_max(kPayloadBytesMax);
  std::vector<wire::Message> messages;
  try {
    for (std::size_t at = 0; at < all.size(); at += piece)
      decoder.feed(all.subspan(at, std::min(piece, all.size() - at)), messages);
  } catch (const wire::ProtocolError&) {
  }
  for (wire::Message& message : messages) {
    fuzz::require(message.payload.size() <= kPayloadBytesMax, "payloads are bounded");
    fuzz::require(message.payload.size() == message.envelope.payload_bytes(),
                  "a payload is as long as its envelope says");
    look_at(message);
  }
  return 0;
}
