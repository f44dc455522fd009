#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "libspecrep/guest/page.h"
#include "libspecrep/wire/message.h"

namespace specrep::wire {

// Builds a Pages message. gfns ascend, at most kPagesPerMessageMax; data holds kPageBytes for
// each. Pages that are all zero cost no payload.
Message encode_pages(Epoch epoch, std::span<const Gfn> gfns, const std::byte* data);

// A decoded Pages message: page(i) is valid as long as the message that it came from.
class PagesView {
 public:
  // Checks everything that the message claims: gfns ascend and are below gfn_count, encodings
  // are known, the payload has exactly the bytes they call for. Throws ProtocolError.
  PagesView(const Message& message, Gfn gfn_count);

  Epoch epoch() const { return epoch_; }
  std::span<const Gfn> gfns() const { return gfns_; }
  // kPageBytes bytes.
  const std::byte* page(std::size_t i) const { return pages_[i]; }

 private:
  Epoch epoch_ = 0;
  std::vector<Gfn> gfns_;
  std::vector<const std::byte*> pages_;
};

// Digests of memory for --verify: the runs of gfns that `gfns` (ascending) form, and 16 bytes
// for each page. Splits into as many messages as the limits need; the last is marked.
std::vector<Message> encode_digests(Epoch epoch, std::span<const Gfn> gfns,
                                    std::span<const std::byte> digests);

struct DigestsView {
  // Checks like PagesView. Throws ProtocolError.
  DigestsView(const Message& message, Gfn gfn_count);
  Epoch epoch = 0;
  std::vector<Gfn> gfns;
  std::span<const std::byte> digests;  // 16 a gfn, inside the message's payload
  bool last = false;
};

inline constexpr std::size_t kDigestBytes = 16;

// XXH3-128 of one page in canonical form. out: kDigestBytes.
void digest_page(const std::byte* page, std::byte* out);

}  // namespace specrep::wire
