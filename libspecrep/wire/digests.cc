#include "libspecrep/wire/digests.h"

#include <xxhash.h>

#include <cstring>

namespace specrep::wire {
namespace {

// Runs in one Digests message. A run costs two varints of up to ten bytes, so that half of the
// envelope is enough for these.
constexpr std::size_t kDigestRunsMax = 1500;
// Digests in one message: 1 MiB of payload, 256 MiB of guest memory.
constexpr std::size_t kDigestsPerMessageMax = 65536;

static_assert(kDigestRunsMax * 20 <= kEnvelopeBytesMax / 2);
static_assert(kDigestsPerMessageMax * kDigestBytes <= kPayloadBytesMax);

}  // namespace

std::vector<Message> encode_digests(Epoch epoch, std::span<const Gfn> gfns,
                                    std::span<const std::byte> digests) {
  if (digests.size() != gfns.size() * kDigestBytes)
    throw ProtocolError("digests and pages to be sent differ in number");
  std::vector<Message> messages;
  std::size_t done = 0;
  // One message at least: it is `last` that the peer waits for.
  do {
    Message message;
    auto* body = message.envelope.mutable_digests();
    body->set_epoch(epoch);
    const auto first = done;
    Gfn run_end = 0;  // of the run before, one past its last page
    int runs = 0;
    while (done < gfns.size() && done - first < kDigestsPerMessageMax) {
      if (done != 0 && gfns[done] <= gfns[done - 1])
        throw ProtocolError("digests to be sent are not in ascending order");
      if (runs != 0 && gfns[done] == run_end) {
        body->set_run_length(runs - 1, body->run_length(runs - 1) + 1);
      } else {
        if (static_cast<std::size_t>(runs) == kDigestRunsMax) break;
        body->add_run_gfn_delta(gfns[done] - run_end);
        body->add_run_length(1);
        ++runs;
      }
      run_end = gfns[done] + 1;
      ++done;
    }
    const auto part = digests.subspan(first * kDigestBytes, (done - first) * kDigestBytes);
    message.payload.assign(part.begin(), part.end());
    body->set_last(done == gfns.size());
    messages.push_back(std::move(message));
  } while (done < gfns.size());
  return messages;
}

DigestsView::DigestsView(const Message& message, Gfn gfn_count) {
  if (!message.envelope.has_digests()) throw ProtocolError("a message with digests was expected");
  const auto& body = message.envelope.digests();
  if (body.run_gfn_delta_size() != body.run_length_size())
    throw ProtocolError("the peer sent " + std::to_string(body.run_gfn_delta_size()) +
                        " digest runs with " + std::to_string(body.run_length_size()) + " lengths");
  // What the runs may hold in all is known before any of them is believed.
  const std::size_t count = message.payload.size() / kDigestBytes;
  gfns.reserve(count);
  Gfn run_end = 0;
  for (int run = 0; run < body.run_length_size(); ++run) {
    const Gfn delta = body.run_gfn_delta(run);
    const std::uint64_t length = body.run_length(run);
    if (length == 0) throw ProtocolError("the peer sent an empty digest run");
    // No sum here can overflow: run_end is at most gfn_count, and delta below what is left.
    if (delta >= gfn_count - run_end || length > gfn_count - run_end - delta)
      throw ProtocolError("the peer sent a digest beyond the guest's " + std::to_string(gfn_count) +
                          " pages");
    if (length > count - gfns.size())
      throw ProtocolError("the peer sent digests with too short a payload");
    for (Gfn gfn = run_end + delta; gfn < run_end + delta + length; ++gfn) gfns.push_back(gfn);
    run_end += delta + length;
  }
  if (gfns.size() * kDigestBytes != message.payload.size())
    throw ProtocolError("the peer sent digests with too long a payload");
  epoch = body.epoch();
  digests = message.payload;
  last = body.last();
}

void digest_page(const std::byte* page, std::byte* out) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(page, kPageBytes));
  static_assert(sizeof canonical == kDigestBytes);
  std::memcpy(out, &canonical, kDigestBytes);
}

}  // namespace specrep::wire
