// Pages from a hostile peer that holds the key: nothing but the guest's own pages is written, and
// what the encoder makes comes out as it went in.

#include <algorithm>
#include <map>

#include "input.h"
#include "libspecrep/wire/page_codec.h"

using namespace specrep;

namespace {

constexpr Gfn kGfnCount = 512;
constexpr std::size_t kCachePages = 8;
constexpr unsigned kMessagesMax = 16;

wire::Message pages_message(FuzzedDataProvider& input) {
  wire::Message message;
  wire::Pages& pages = *message.envelope.mutable_pages();
  pages.set_epoch(fuzz::number(input, 3));
  const auto count = input.ConsumeIntegralInRange<unsigned>(0, 6);
  std::size_t payload_bytes = 0;
  for (unsigned i = 0; i < count; ++i) {
    pages.add_gfn_delta(fuzz::number(input, 40));
    const int encoding = input.ConsumeIntegralInRange(0, 5);
    pages.add_encoding(static_cast<wire::PageEncoding>(encoding));
    payload_bytes += encoding == wire::RAW ? kPageBytes : 64;
  }
  if (input.ConsumeIntegral<std::uint8_t>() < 8) pages.clear_encoding();
  message.payload = fuzz::bytes(input, payload_bytes);
  if (input.ConsumeBool()) message.payload.resize(payload_bytes);
  return message;
}

// Returns false when the link would be dead.
bool decode(wire::PageDecoder& decoder, const wire::Message& message) {
  Gfn last = 0;
  std::size_t called = 0;
  try {
    const std::size_t versions = decoder.decode(message, [&](Gfn gfn, const std::byte* page) {
      fuzz::require(gfn < kGfnCount, "a page is the guest's");
      fuzz::require(called == 0 || gfn > last, "pages ascend");
      // Every byte is readable.
      fuzz::require(std::count(page, page + kPageBytes, std::byte{}) <= std::ptrdiff_t{kPageBytes},
                    "a page is whole");
      last = gfn;
      ++called;
    });
    fuzz::require(called <= versions, "no more pages than versions");
  } catch (const wire::ProtocolError&) {
    return false;
  }
  return true;
}

// Pages that change line by line, through encoder and decoder.
void round_trip(FuzzedDataProvider& input) {
  wire::PageEncoder encoder(kCachePages, true);
  wire::PageDecoder decoder(kGfnCount, kCachePages);
  std::map<Gfn, std::vector<std::byte>> sent, received;
  for (unsigned n = 0; n < kMessagesMax && input.remaining_bytes() > 0; ++n) {
    std::vector<Gfn> gfns;
    std::vector<std::byte> data;
    for (Gfn gfn = input.ConsumeIntegralInRange<Gfn>(0, 15); gfn < 32 && gfns.size() < 6;
         gfn += input.ConsumeIntegralInRange<Gfn>(1, 8)) {
      auto& page = sent[gfn];
      page.resize(kPageBytes);
      for (auto changes = input.ConsumeIntegralInRange<unsigned>(0, 4); changes > 0; --changes) {
        const auto at = input.ConsumeIntegralInRange<std::size_t>(0, kPageBytes - 1);
        page[at] = std::byte{input.ConsumeIntegral<std::uint8_t>()};
      }
      if (input.ConsumeIntegral<std::uint8_t>() < 8) page.assign(kPageBytes, std::byte{});
      gfns.push_back(gfn);
      data.insert(data.end(), page.begin(), page.end());
    }
    if (gfns.empty()) return;
    const wire::Message message = encoder.encode(1, gfns, data.data());
    decoder.decode(message, [&](Gfn gfn, const std::byte* page) {
      received[gfn].assign(page, page + kPageBytes);
    });
    for (const Gfn gfn : gfns) {
      auto& page = received[gfn];
      page.resize(kPageBytes);  // never sent and zero: UNCHANGED has nothing to say
      fuzz::require(page == sent[gfn], "a page comes out as it went in");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  if (input.ConsumeBool()) {
    round_trip(input);
    return 0;
  }
  wire::PageDecoder decoder(kGfnCount, kCachePages);
  for (unsigned n = 0; n < kMessagesMax && input.remaining_bytes() > 0; ++n)
    if (!decode(decoder, pages_message(input))) break;
  return 0;
}
