#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "libspecrep/guest/page.h"
#include "libspecrep/wire/message.h"

namespace specrep::wire {

// Digests of memory for --verify: the runs of gfns that `gfns` (ascending) form, and 16 bytes
// for each page. Splits into as many messages as the limits need; the last is marked.
std::vector<Message> encode_digests(Epoch epoch, std::span<const Gfn> gfns,
                                    std::span<const std::byte> digests);

struct DigestsView {
  // Checks everything that the message claims. Throws ProtocolError.
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
