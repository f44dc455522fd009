// Pages on the wire: what goes in comes out, each encoding where it belongs, and nothing that a
// hostile peer sends does harm.
#include "libspecrep/wire/page_codec.h"

#include <lz4.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <random>

namespace specrep::wire {
namespace {

BOOST_AUTO_TEST_SUITE(wire_page_codec)

constexpr Gfn kGfnCount = 1 << 20;

using Page = std::vector<std::byte>;

Page filled(int value) { return Page(kPageBytes, std::byte(value)); }

Page noise(std::mt19937_64& random) {
  Page page(kPageBytes);
  for (std::size_t i = 0; i < kPageBytes; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(page.data() + i, &word, 8);
  }
  return page;
}

Page text(std::mt19937_64& random) {
  static constexpr const char* kWords[] = {"epoch ", "checkpoint ", "commit ", "residual ",
                                           "the ",   "guest ",      "page\n",  "0x7f3a "};
  Page page;
  while (page.size() < kPageBytes)
    for (const char* c = kWords[random() % 8]; *c; ++c) page.push_back(std::byte(*c));
  page.resize(kPageBytes);
  return page;
}

void flip(Page& page, std::size_t at) { page[at] ^= std::byte{0x55}; }

Message encode(PageEncoder& encoder, const std::vector<Gfn>& gfns, const std::vector<Page>& pages) {
  std::vector<std::byte> data;
  for (const Page& page : pages) data.insert(data.end(), page.begin(), page.end());
  return encoder.encode(1, gfns, data.data());
}

// Encoder and decoder of a link, and what the backup has.
struct Pair {
  explicit Pair(std::size_t cache_pages, bool compress = true)
      : encoder(cache_pages, compress), decoder(kGfnCount, compress ? cache_pages : 0) {}

  // Sends one page and says how it went.
  PageEncoding send(Gfn gfn, const Page& page) {
    message = encode(encoder, {gfn}, {page});
    receive(message);
    BOOST_TEST((memory.at(gfn) == page));
    for (int encoding = 0; encoding < static_cast<int>(kPageEncodings); ++encoding)
      if (encoder.last().pages[static_cast<std::size_t>(encoding)])
        return static_cast<PageEncoding>(encoding);
    throw std::logic_error("no page was encoded");
  }
  std::size_t receive(const Message& m) {
    return decoder.decode(m, [this](Gfn gfn, const std::byte* page) {
      memory[gfn].assign(page, page + kPageBytes);
      ++puts;
    });
  }

  PageEncoder encoder;
  PageDecoder decoder;
  Message message;
  std::map<Gfn, Page> memory;
  unsigned puts = 0;
};

BOOST_AUTO_TEST_CASE(zero_pages_cost_no_payload) {
  Pair pair(4);
  BOOST_TEST(pair.send(5, filled(0)) == ZERO);
  BOOST_TEST(pair.message.payload.empty());
  auto nearly = filled(0);
  nearly.back() = std::byte{9};
  BOOST_TEST(pair.send(5, nearly) != ZERO);
  BOOST_TEST(pair.send(5, filled(0)) == ZERO);
  BOOST_TEST(pair.send(5, filled(0)) == ZERO);  // and is not kept
  BOOST_TEST(pair.send(5, nearly) == LZ4);
}

BOOST_AUTO_TEST_CASE(noise_goes_raw_and_needs_no_encodings) {
  std::mt19937_64 random(1);
  Pair pair(4);
  BOOST_TEST(pair.send(5, noise(random)) == RAW);
  BOOST_TEST(pair.message.payload.size() == kPageBytes);
  BOOST_TEST(pair.message.envelope.pages().encoding_size() == 0);
}

BOOST_AUTO_TEST_CASE(text_goes_as_lz4) {
  std::mt19937_64 random(1);
  Pair pair(4);
  BOOST_TEST(pair.send(5, text(random)) == LZ4);
  BOOST_TEST(pair.message.payload.size() < kPageBytes / 2);
}

BOOST_AUTO_TEST_CASE(what_saves_less_than_an_eighth_goes_raw) {
  std::mt19937_64 random(1);
  for (const std::size_t constant : {400, 480, 530, 600, 700}) {
    Page page = noise(random);
    std::fill_n(page.begin(), constant, std::byte{1});
    Pair pair(4);
    const auto encoding = pair.send(5, page);
    BOOST_TEST((encoding == LZ4) == (constant > 530));
    if (encoding == LZ4) BOOST_TEST(pair.message.payload.size() <= kPageBytes * 7 / 8);
  }
}

BOOST_AUTO_TEST_CASE(the_same_page_again_costs_nothing) {
  std::mt19937_64 random(1);
  Pair pair(4);
  for (const Page& page : {noise(random), text(random)}) {
    pair.send(5, page);
    const unsigned before = pair.puts;
    BOOST_TEST(pair.send(5, page) == UNCHANGED);
    BOOST_TEST(pair.message.payload.empty());
    BOOST_TEST(pair.puts == before);
  }
}

BOOST_AUTO_TEST_CASE(few_lines_go_as_a_difference) {
  std::mt19937_64 random(1);
  for (const std::size_t lines : {1, 4, 16}) {
    Pair pair(4);
    Page page = noise(random);
    pair.send(5, page);
    const Page other = noise(random);  // the lines are replaced: nothing is left to compress
    for (std::size_t i = 0; i < lines; ++i) {
      const auto at = static_cast<std::ptrdiff_t>((64 / lines * i + 3) * kLineBytes);
      std::copy_n(other.begin() + at, kLineBytes, page.begin() + at);
    }
    BOOST_TEST(pair.send(5, page) == DELTA);
    BOOST_TEST(pair.message.payload.size() == 10 + 64 * lines);
    BOOST_TEST(pair.send(5, page) == UNCHANGED);
  }
}

BOOST_AUTO_TEST_CASE(small_changes_everywhere_go_as_a_compressed_difference) {
  std::mt19937_64 random(1);
  Pair pair(4);
  Page page = noise(random);
  pair.send(5, page);
  for (std::size_t line = 0; line < 64; ++line) flip(page, line * kLineBytes + 8);
  BOOST_TEST(pair.send(5, page) == DELTA);
  BOOST_TEST(pair.message.payload.size() < 1000u);
}

BOOST_AUTO_TEST_CASE(first_and_last_byte_make_a_difference) {
  std::mt19937_64 random(1);
  Pair pair(4);
  Page page = noise(random);
  pair.send(5, page);
  for (const std::size_t at : {std::size_t{0}, kPageBytes - 1, std::size_t{63}, std::size_t{64}}) {
    flip(page, at);
    BOOST_TEST(pair.send(5, page) == DELTA);
  }
}

BOOST_AUTO_TEST_CASE(replaced_contents_go_as_if_new) {
  std::mt19937_64 random(1);
  Pair pair(4);
  pair.send(5, noise(random));
  BOOST_TEST(pair.send(5, text(random)) == LZ4);
  BOOST_TEST(pair.send(5, noise(random)) == RAW);
}

BOOST_AUTO_TEST_CASE(half_replaced_goes_as_whichever_is_smaller) {
  std::mt19937_64 random(1);
  Pair pair(4);
  Page page = noise(random);
  pair.send(5, page);
  const Page other = noise(random);
  std::copy_n(other.begin(), kPageBytes / 2, page.begin());
  BOOST_TEST(pair.send(5, page) == DELTA);
  BOOST_TEST(pair.message.payload.size() == 10 + kPageBytes / 2);
  page = text(random);
  pair.send(5, page);
  std::fill_n(page.begin(), kPageBytes / 2, std::byte{7});
  BOOST_TEST(pair.send(5, page) == LZ4);
}

BOOST_AUTO_TEST_CASE(without_compression_pages_go_raw_and_zero_only) {
  std::mt19937_64 random(1);
  Pair pair(4, false);
  const Page page = text(random);
  BOOST_TEST(pair.send(5, page) == RAW);
  BOOST_TEST(pair.send(5, page) == RAW);
  BOOST_TEST(pair.send(5, filled(0)) == ZERO);
}

BOOST_AUTO_TEST_CASE(without_a_cache_messages_stand_for_themselves) {
  std::mt19937_64 random(1);
  Pair pair(0);
  const Page page = text(random);
  BOOST_TEST(pair.send(5, page) == LZ4);
  BOOST_TEST(pair.send(5, page) == LZ4);
  PageDecoder another(kGfnCount, 0);
  BOOST_TEST(another.decode(pair.message, [&](Gfn gfn, const std::byte* got) {
    BOOST_TEST(gfn == 5u);
    BOOST_TEST(std::memcmp(got, page.data(), kPageBytes) == 0);
  }) == 1u);
}

BOOST_AUTO_TEST_CASE(an_evicted_page_is_sent_whole_again) {
  std::mt19937_64 random(1);
  Pair pair(2);
  const Page page = text(random);
  pair.send(1, page);
  pair.send(2, page);
  pair.send(1, page);
  pair.send(3, page);  // 2 goes
  BOOST_TEST(pair.send(1, page) == UNCHANGED);
  BOOST_TEST(pair.send(2, page) == LZ4);
}

BOOST_AUTO_TEST_CASE(counters_tell_pages_and_bytes) {
  std::mt19937_64 random(1);
  PageEncoder encoder(8, true);
  const auto first = encode(encoder, {1, 2, 3}, {noise(random), filled(0), text(random)});
  BOOST_TEST(encoder.last().pages[RAW] == 1u);
  BOOST_TEST(encoder.last().bytes[RAW] == kPageBytes);
  BOOST_TEST(encoder.last().pages[ZERO] == 1u);
  BOOST_TEST(encoder.last().bytes[ZERO] == 0u);
  BOOST_TEST(encoder.last().bytes[LZ4] == first.payload.size() - kPageBytes);
  const auto second = encode(encoder, {4}, {text(random)});
  BOOST_TEST(encoder.last().all_pages() == 1u);
  BOOST_TEST(encoder.total().all_pages() == 4u);
  BOOST_TEST(encoder.total().all_bytes() == first.payload.size() + second.payload.size());
}

BOOST_AUTO_TEST_CASE(no_pages_at_all) {
  PageEncoder encoder(0, true);
  PageDecoder decoder(kGfnCount, 0);
  const auto message = encoder.encode(1, {}, nullptr);
  BOOST_TEST(decoder.decode(message, [](Gfn, const std::byte*) { BOOST_ERROR("a page"); }) == 0u);
}

BOOST_AUTO_TEST_CASE(the_encoder_keeps_the_rules) {
  PageEncoder encoder(4, true);
  const std::vector<Gfn> too_many(kPagesPerMessageMax + 1);
  BOOST_CHECK_THROW(encoder.encode(1, too_many, nullptr), ProtocolError);
  const Page data(2 * kPageBytes, std::byte{1});
  BOOST_CHECK_THROW(encoder.encode(1, std::vector<Gfn>{4, 4}, data.data()), ProtocolError);
  BOOST_CHECK_THROW(encoder.encode(1, std::vector<Gfn>{4, 3}, data.data()), ProtocolError);
  BOOST_TEST(encoder.total().all_pages() == 0u);
}

BOOST_AUTO_TEST_CASE(the_largest_message_fits_its_envelope) {
  // Half of each page is replaced, so that LZ4 and the delta are both tried.
  std::mt19937_64 random(1);
  PageEncoder encoder(kPagesPerMessageMax, true);
  PageDecoder decoder(std::numeric_limits<Gfn>::max(), kPagesPerMessageMax);
  std::vector<Gfn> gfns;
  for (std::size_t i = 0; i < kPagesPerMessageMax; ++i) gfns.push_back((i + 1) << 56);
  std::vector<Page> pages(gfns.size());
  for (const std::size_t replaced : {4096, 2048, 3520, 3584, 4096}) {
    for (Page& page : pages) {
      const Page other = noise(random);
      page.resize(kPageBytes);
      std::copy_n(other.begin(), replaced, page.begin());
    }
    auto message = encode(encoder, gfns, pages);
    BOOST_CHECK_NO_THROW(encode_head(message));
    std::size_t i = 0;
    BOOST_TEST(decoder.decode(message, [&](Gfn gfn, const std::byte* page) {
      BOOST_TEST(gfn == gfns[i]);
      BOOST_TEST(std::memcmp(page, pages[i].data(), kPageBytes) == 0);
      ++i;
    }) == gfns.size());
  }
}

// Histories: pages are changed in every way that matters, sent in messages of any size, and the
// backup's memory is compared after each.
void run_history(unsigned seed, std::size_t guest_pages, std::size_t cache_pages, int messages) {
  std::mt19937_64 random(seed);
  std::vector<Page> guest(guest_pages, filled(0));
  Pair pair(cache_pages);
  for (int i = 0; i < messages; ++i) {
    // Some pages are hot, so that the cache holds them.
    std::vector<Gfn> gfns(1 + random() % kPagesPerMessageMax);
    for (Gfn& gfn : gfns) gfn = random() % (random() % 2 ? guest_pages : guest_pages / 16 + 1);
    std::sort(gfns.begin(), gfns.end());
    gfns.erase(std::unique(gfns.begin(), gfns.end()), gfns.end());
    std::vector<std::byte> data;
    for (const Gfn gfn : gfns) {
      Page& page = guest[gfn];
      switch (random() % 10) {
        case 0:
          page = filled(0);
          break;
        case 1:
          page = filled(static_cast<int>(random() % 3));
          break;
        case 2:
          page = noise(random);
          break;
        case 3:
          page = text(random);
          break;
        case 4:
          break;
        case 5:
          for (std::size_t at = random() % 64; at < kPageBytes; at += kLineBytes) flip(page, at);
          break;
        default:
          for (auto n = random() % 40; n; --n) {
            const std::size_t at = random() % kPageBytes;
            const std::size_t length = std::min<std::size_t>(random() % 200, kPageBytes - at);
            for (std::size_t k = at; k < at + length; ++k) page[k] = std::byte(random());
          }
      }
      data.insert(data.end(), page.begin(), page.end());
    }
    Message message = pair.encoder.encode(1, gfns, data.data());
    // Through bytes and back.
    auto bytes = encode_head(message);
    bytes.insert(bytes.end(), message.payload.begin(), message.payload.end());
    std::vector<Message> received;
    Decoder frames;
    frames.feed(bytes, received);
    BOOST_REQUIRE(pair.receive(received.at(0)) == gfns.size());
    for (const Gfn gfn : gfns) BOOST_REQUIRE((pair.memory.at(gfn) == guest[gfn]));
  }
  for (const auto& [gfn, page] : pair.memory) BOOST_REQUIRE((page == guest[gfn]));
  // A cache of next to nothing seldom helps.
  if (cache_pages < 10) return;
  for (const auto pages : pair.encoder.total().pages) BOOST_TEST(pages != 0u);
}

BOOST_AUTO_TEST_CASE(random_histories) {
  run_history(1, 4000, 700, 300);
  run_history(2, 4000, 10'000, 150);
  run_history(3, 500, 40, 100);
  run_history(4, 200, 1, 100);
  run_history(5, 500, 0, 50);
}

// What is refused

bool says(const ProtocolError& error, const std::string& text) {
  const bool found = std::string(error.what()).find(text) != std::string::npos;
  if (!found) BOOST_TEST_MESSAGE("it says: " << error.what());
  return found;
}

// A decoder that has pages 10 to 14 in its cache, and a message with one page in each encoding:
// 10 RAW, 11 ZERO, 12 UNCHANGED, 13 DELTA, 14 LZ4.
struct Hostile {
  static constexpr std::size_t kCachePages = 8;

  Hostile() {
    std::mt19937_64 random(1);
    std::vector<Page> pages;
    for (int i = 0; i < 5; ++i) pages.push_back(noise(random));
    PageEncoder encoder(kCachePages, true);
    first = encode(encoder, gfns, pages);
    pages[0] = noise(random);
    pages[1] = filled(0);
    for (std::size_t at = 3; at < 600; at += 5) flip(pages[3], at);
    pages[4] = text(random);
    second = encode(encoder, gfns, pages);
    const std::vector<int> encodings(second.envelope.pages().encoding().begin(),
                                     second.envelope.pages().encoding().end());
    BOOST_REQUIRE((encodings == std::vector<int>{RAW, ZERO, UNCHANGED, DELTA, LZ4}));
  }

  // What it said, or nothing when the message was taken.
  std::optional<std::string> decode(const Message& message) const {
    PageDecoder decoder(kGfnCount, kCachePages);
    decoder.decode(first, [](Gfn, const std::byte*) {});
    // Exactly as large as the payload, so that a read behind it is noticed.
    Message copy;
    copy.envelope = message.envelope;
    copy.payload = std::vector<std::byte>(message.payload.begin(), message.payload.end());
    try {
      unsigned sum = 0;
      decoder.decode(copy, [&](Gfn gfn, const std::byte* page) {
        BOOST_REQUIRE(gfn < kGfnCount);
        for (std::size_t i = 0; i < kPageBytes; i += 64) sum += std::to_integer<unsigned>(page[i]);
      });
      return std::nullopt;
    } catch (const ProtocolError& error) {
      return error.what();
    }
  }

  const std::vector<Gfn> gfns{10, 11, 12, 13, 14};
  Message first, second;
};

BOOST_AUTO_TEST_CASE(a_message_of_all_encodings_is_taken) {
  const Hostile hostile;
  BOOST_TEST(!hostile.decode(hostile.second).has_value());
}

BOOST_AUTO_TEST_CASE(every_truncation_is_refused) {
  const Hostile hostile;
  Message message = hostile.second;
  while (!message.payload.empty()) {
    message.payload.pop_back();
    BOOST_REQUIRE(hostile.decode(message).has_value());
  }
  message = hostile.second;
  message.payload.push_back({});
  BOOST_TEST(hostile.decode(message).has_value());
}

BOOST_AUTO_TEST_CASE(every_flipped_bit_of_the_payload_decodes_or_is_refused) {
  const Hostile hostile;
  Message message = hostile.second;
  int refused = 0;
  // Of the page that is RAW some bits will do.
  for (std::size_t at = 0; at < message.payload.size(); at += at < kPageBytes - 97 ? 97 : 1) {
    for (int bit = 0; bit < 8; ++bit) {
      message.payload[at] ^= std::byte(1 << bit);
      refused += hostile.decode(message).has_value();
      message.payload[at] ^= std::byte(1 << bit);
    }
  }
  BOOST_TEST(refused > 100);
}

BOOST_AUTO_TEST_CASE(every_flipped_bit_of_the_header_decodes_or_is_refused) {
  const Hostile hostile;
  std::string header = hostile.second.envelope.SerializeAsString();
  Message message = hostile.second;
  int refused = 0;
  for (char& byte : header) {
    for (int bit = 0; bit < 8; ++bit) {
      byte = static_cast<char>(byte ^ (1 << bit));
      if (message.envelope.ParseFromString(header)) refused += hostile.decode(message).has_value();
      byte = static_cast<char>(byte ^ (1 << bit));
    }
  }
  BOOST_TEST(refused > 20);
}

BOOST_AUTO_TEST_CASE(random_bytes_decode_or_are_refused) {
  const Hostile hostile;
  std::mt19937_64 random(1);
  for (int i = 0; i < 3000; ++i) {
    Message message = hostile.second;
    for (auto n = 1 + random() % 20; n; --n)
      message.payload[kPageBytes + random() % (message.payload.size() - kPageBytes)] =
          std::byte(random());
    hostile.decode(message);
  }
}

// One page 10, that the cache has unless `cached` is false, in an encoding and with a payload
// that are made by hand.
std::string refusal(PageEncoding encoding, std::vector<std::byte> payload, bool cached = true) {
  Message message;
  message.envelope.mutable_pages()->add_gfn_delta(cached ? 10 : 20);
  message.envelope.mutable_pages()->add_encoding(encoding);
  message.payload = std::move(payload);
  return Hostile().decode(message).value_or("");
}

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> result;
  for (const int value : values) result.push_back(std::byte(value));
  return result;
}

std::vector<std::byte> delta(std::uint64_t mask, std::size_t length, std::size_t follow) {
  std::vector<std::byte> result;
  for (int i = 0; i < 8; ++i) result.push_back(std::byte(mask >> (8 * i)));
  result.push_back(std::byte(length));
  result.push_back(std::byte(length >> 8));
  result.resize(result.size() + follow);
  return result;
}

// An LZ4 block of `size` times the same byte behind its length.
std::vector<std::byte> lz4_of(std::size_t size, std::vector<std::byte> head = {}) {
  const std::vector<char> in(size, 'x');
  std::vector<char> out(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(size))));
  const int got = LZ4_compress_default(in.data(), out.data(), static_cast<int>(size),
                                       static_cast<int>(out.size()));
  head.push_back(std::byte(got));
  head.push_back(std::byte(got >> 8));
  for (int i = 0; i < got; ++i) head.push_back(std::byte(out[static_cast<std::size_t>(i)]));
  return head;
}

bool contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  BOOST_TEST_MESSAGE("it says: " << text);
  return false;
}

BOOST_AUTO_TEST_CASE(hostile_differences) {
  BOOST_TEST(refusal(DELTA, delta(1, 64, 64)) == "");
  BOOST_TEST(contains(refusal(DELTA, delta(0, 64, 64)), "a difference without lines"));
  BOOST_TEST(contains(refusal(DELTA, delta(1, 0, 0)), "a difference of 0 bytes"));
  BOOST_TEST(contains(refusal(DELTA, delta(1, 65, 65)), "a difference of 65 bytes; 1 to 64"));
  BOOST_TEST(contains(refusal(DELTA, delta(~0ull, 65535, 4096)), "1 to 4096 are allowed"));
  BOOST_TEST(contains(refusal(DELTA, delta(~0ull, 4096, 4095)), "too short a payload"));
  BOOST_TEST(contains(refusal(DELTA, delta(3, 128, 129)), "1 bytes of payload too many"));
  BOOST_TEST(contains(refusal(DELTA, bytes({1, 0, 0})), "too short a payload"));
  BOOST_TEST(contains(refusal(DELTA, delta(1, 64, 64), false), "not in the cache"));
  auto head = delta(3, 0, 0);
  head.resize(8);
  BOOST_TEST(refusal(DELTA, lz4_of(128, head)) == "");
  BOOST_TEST(contains(refusal(DELTA, lz4_of(127, head)), "makes 127 bytes instead of 128"));
  BOOST_TEST(contains(refusal(DELTA, lz4_of(129, head)), "cannot be decompressed"));
  BOOST_TEST(contains(refusal(DELTA, delta(~0ull, 100, 100)), "LZ4"));
}

BOOST_AUTO_TEST_CASE(hostile_lz4) {
  BOOST_TEST(refusal(LZ4, lz4_of(4096)) == "");
  BOOST_TEST(refusal(LZ4, lz4_of(4096), false) == "");
  BOOST_TEST(contains(refusal(LZ4, lz4_of(4095)), "makes 4095 bytes instead of 4096"));
  BOOST_TEST(contains(refusal(LZ4, lz4_of(4097)), "cannot be decompressed"));
  BOOST_TEST(contains(refusal(LZ4, lz4_of(1 << 19)), "cannot be decompressed"));
  BOOST_TEST(contains(refusal(LZ4, bytes({0, 0})), "0 bytes of LZ4; 1 to 4095"));
  BOOST_TEST(contains(refusal(LZ4, std::vector<std::byte>(4098, std::byte{16})), "bytes of LZ4"));
  BOOST_TEST(contains(refusal(LZ4, bytes({1})), "too short a payload"));
  BOOST_TEST(contains(refusal(LZ4, bytes({9, 0, 1})), "too short a payload"));
  // A match that reaches back before the page.
  BOOST_TEST(contains(refusal(LZ4, bytes({5, 0, 0x1f, 65, 0xff, 0xff, 0})), "LZ4"));
}

BOOST_AUTO_TEST_CASE(hostile_unchanged) {
  BOOST_TEST(refusal(UNCHANGED, {}) == "");
  BOOST_TEST(contains(refusal(UNCHANGED, {}, false), "not in the cache"));
  BOOST_TEST(contains(refusal(UNCHANGED, bytes({1})), "1 bytes of payload too many"));
}

BOOST_AUTO_TEST_CASE(without_a_cache_nothing_may_refer_to_it) {
  Message message;
  message.envelope.mutable_pages()->add_gfn_delta(10);
  message.envelope.mutable_pages()->add_encoding(UNCHANGED);
  PageDecoder decoder(kGfnCount, 0);
  BOOST_CHECK_EXCEPTION(decoder.decode(message, [](Gfn, const std::byte*) {}), ProtocolError,
                        [](const auto& e) { return says(e, "not in the cache"); });
}

// Two pages, 10 and 11, changed by `change`; whether they are refused, and before any is put.
bool refused(const std::function<void(Pages&, std::vector<std::byte>&)>& change) {
  std::mt19937_64 random(1);
  PageEncoder encoder(0, true);
  auto message = encode(encoder, {10, 11}, {noise(random), noise(random)});
  change(*message.envelope.mutable_pages(), message.payload);
  bool checked = false;
  try {
    check_pages(message, kGfnCount);
  } catch (const ProtocolError&) {
    checked = true;
  }
  unsigned puts = 0;
  try {
    PageDecoder(kGfnCount, 0).decode(message, [&](Gfn, const std::byte*) { ++puts; });
  } catch (const ProtocolError&) {
    BOOST_TEST(puts == 0u);
    BOOST_TEST(checked);
    return true;
  }
  BOOST_TEST(!checked);
  return false;
}

BOOST_AUTO_TEST_CASE(honest_pages_are_not_refused) {
  BOOST_TEST(!refused([](Pages&, auto&) {}));
  BOOST_TEST(!refused([](Pages& p, auto&) { p.set_gfn_delta(0, kGfnCount - 2); }));
}

BOOST_AUTO_TEST_CASE(gfn_out_of_bounds) {
  BOOST_TEST(refused([](Pages& p, auto&) { p.set_gfn_delta(0, kGfnCount); }));
  BOOST_TEST(refused([](Pages& p, auto&) { p.set_gfn_delta(0, kGfnCount - 1); }));
  BOOST_TEST(refused([](Pages& p, auto&) { p.set_gfn_delta(0, ~0ull); }));
}

BOOST_AUTO_TEST_CASE(gfns_not_ascending) {
  BOOST_TEST(refused([](Pages& p, auto&) { p.set_gfn_delta(1, 0); }));
  // 10 + (2^64 - 1) is 9 when it overflows.
  BOOST_TEST(refused([](Pages& p, auto&) { p.set_gfn_delta(1, ~0ull); }));
}

BOOST_AUTO_TEST_CASE(unknown_encoding) {
  for (const int encoding : {5, 7, -1}) {
    BOOST_TEST(refused([=](Pages& p, auto&) {
      p.add_encoding(RAW);
      p.add_encoding(static_cast<PageEncoding>(encoding));
    }));
  }
}

BOOST_AUTO_TEST_CASE(encodings_and_pages_differ_in_number) {
  BOOST_TEST(refused([](Pages& p, auto&) { p.add_encoding(RAW); }));
  BOOST_TEST(refused([](Pages& p, auto&) {
    for (int i = 0; i < 3; ++i) p.add_encoding(RAW);
  }));
}

BOOST_AUTO_TEST_CASE(payload_short_or_long) {
  BOOST_TEST(refused([](Pages&, auto& payload) { payload.pop_back(); }));
  BOOST_TEST(refused([](Pages&, auto& payload) { payload.clear(); }));
  BOOST_TEST(refused([](Pages&, auto& payload) { payload.push_back(std::byte{}); }));
  BOOST_TEST(refused([](Pages&, auto& payload) { payload.resize(3 * kPageBytes); }));
}

BOOST_AUTO_TEST_CASE(too_many_pages_in_a_message) {
  BOOST_TEST(refused([](Pages& p, auto& payload) {
    payload.clear();
    p.clear_gfn_delta();
    for (std::size_t i = 0; i <= kPagesPerMessageMax; ++i) {
      p.add_gfn_delta(1);
      p.add_encoding(ZERO);
    }
  }));
}

BOOST_AUTO_TEST_CASE(another_message_is_no_pages) {
  BOOST_CHECK_THROW(check_pages(hello(), kGfnCount), ProtocolError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::wire
