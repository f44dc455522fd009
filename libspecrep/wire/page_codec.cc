#include "libspecrep/wire/page_codec.h"

#include <lz4.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <string>

#include "libspecrep/wire/lz4_block.h"

namespace specrep::wire {
namespace {

constexpr std::array<std::byte, kPageBytes> kZeroPage{};

constexpr std::size_t kWordBytes = sizeof(std::uint64_t);
constexpr std::size_t kMaskBytes = 8;
constexpr std::size_t kLengthBytes = 2;
constexpr std::size_t kDeltaHeadBytes = kMaskBytes + kLengthBytes;

// Above it a page goes RAW: what is saved would not be worth the receiver's work.
constexpr std::size_t kEncodedBytesMax = kPageBytes - kPageBytes / 8;
// With a delta of so few lines the page itself is not tried: LZ4 of the whole page takes ten times
// as long, and seldom makes less of it.
constexpr std::size_t kSmallDeltaLines = 16;
constexpr std::size_t kSmallDeltaBytes = kDeltaHeadBytes + kSmallDeltaLines * kLineBytes;
// LZ4 is tried on a difference if this share of its words is zero, as it is when a counter in
// each record of a table moved on. In other differences, contents that were replaced, it finds
// less than in the page itself.
constexpr std::size_t kSparseShare = 4;

// A page number costs up to ten bytes, its encoding one.
static_assert(kPagesPerMessageMax * 11 <= kEnvelopeBytesMax / 2);

// Two machine words at a time, on whatever machine.
using Vector __attribute__((vector_size(16))) = std::uint64_t;
constexpr std::size_t kLineVectors = kLineBytes / sizeof(Vector);

Vector load(const std::byte* at) {
  Vector vector;
  std::memcpy(&vector, at, sizeof vector);
  return vector;
}

// Bit n: line n differs.
std::uint64_t changed_lines(const std::byte* a, const std::byte* b) {
  std::uint64_t mask = 0;
  for (std::size_t line = 0; line < kLinesPerPage; ++line) {
    Vector difference{};
    for (std::size_t i = 0; i < kLineVectors; ++i) {
      difference |= load(a) ^ load(b);
      a += sizeof(Vector);
      b += sizeof(Vector);
    }
    mask |= std::uint64_t{(difference[0] | difference[1]) != 0} << line;
  }
  return mask;
}

void xor_line(std::byte* out, const std::byte* a, const std::byte* b) {
  for (std::size_t i = 0; i < kLineBytes; i += sizeof(Vector)) {
    const Vector difference = load(a + i) ^ load(b + i);
    std::memcpy(out + i, &difference, sizeof difference);
  }
}

template <typename Function>
void each_line(std::uint64_t mask, const Function& function) {
  for (; mask; mask &= mask - 1)
    function(static_cast<std::size_t>(std::countr_zero(mask)) * kLineBytes);
}

bool is_sparse(const std::byte* bytes, std::size_t size) {
  std::size_t zero = 0;
  for (std::size_t i = 0; i < size; i += kWordBytes) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + i, kWordBytes);
    zero += word == 0;
  }
  return zero * kWordBytes * kSparseShare >= size;
}

// Byte by byte, since the wire's order is not always the host's.
void store(std::uint64_t value, std::size_t bytes, std::byte* out) {
  for (std::size_t i = 0; i < bytes; ++i) out[i] = std::byte(value >> (8 * i));
}

std::uint64_t fetch(const std::byte* in, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value |= std::to_integer<std::uint64_t>(in[i]) << (8 * i);
  return value;
}

const char* lz4_in(const std::byte* bytes) { return reinterpret_cast<const char*>(bytes); }
char* lz4_out(std::byte* bytes) { return reinterpret_cast<char*>(bytes); }

[[noreturn]] void refuse(Gfn gfn, const std::string& what) {
  throw ProtocolError("the peer sent page " + std::to_string(gfn) + " " + what);
}

// A page as the message has it, before its contents are looked at.
struct EncodedPage {
  Gfn gfn;
  PageEncoding encoding;
  std::uint64_t mask;  // DELTA
  const std::byte* bytes;
  std::size_t size;
};

// The pages of a message, checked as check_pages() says.
class PageList {
 public:
  PageList(const Message& message, Gfn gfn_count);
  std::span<const EncodedPage> pages() const { return {pages_.data(), count_}; }

 private:
  std::size_t count_ = 0;
  std::array<EncodedPage, kPagesPerMessageMax> pages_;
};

// The payload that has not been given out yet.
class Payload {
 public:
  explicit Payload(std::span<const std::byte> bytes) : left_(bytes) {}
  std::size_t left() const { return left_.size(); }
  const std::byte* take(std::size_t bytes) {
    if (left_.size() < bytes) throw ProtocolError("the peer sent pages with too short a payload");
    const auto* at = left_.data();
    left_ = left_.subspan(bytes);
    return at;
  }

 private:
  std::span<const std::byte> left_;
};

void take_contents(EncodedPage& page, Payload& payload) {
  page.size = 0;
  page.mask = 0;
  switch (page.encoding) {
    case RAW:
      page.size = kPageBytes;
      break;
    case ZERO:
    case UNCHANGED:
      break;
    case DELTA: {
      page.mask = fetch(payload.take(kMaskBytes), kMaskBytes);
      page.size = fetch(payload.take(kLengthBytes), kLengthBytes);
      if (page.mask == 0) refuse(page.gfn, "as a difference without lines");
      const auto all = static_cast<std::size_t>(std::popcount(page.mask)) * kLineBytes;
      if (page.size == 0 || page.size > all)
        refuse(page.gfn, "as a difference of " + std::to_string(page.size) + " bytes; 1 to " +
                             std::to_string(all) + " are allowed");
      break;
    }
    case LZ4:
      page.size = fetch(payload.take(kLengthBytes), kLengthBytes);
      if (page.size == 0 || page.size >= kPageBytes)
        refuse(page.gfn, "in " + std::to_string(page.size) + " bytes of LZ4; 1 to " +
                             std::to_string(kPageBytes - 1) + " are allowed");
      break;
    default:
      refuse(page.gfn, "in the unknown encoding " + std::to_string(page.encoding));
  }
  page.bytes = payload.take(page.size);
}

PageList::PageList(const Message& message, Gfn gfn_count) {
  if (!message.envelope.has_pages()) throw ProtocolError("a message with pages was expected");
  const auto& pages = message.envelope.pages();
  const auto count = static_cast<std::size_t>(pages.gfn_delta_size());
  if (count > kPagesPerMessageMax)
    throw ProtocolError("the peer sent " + std::to_string(count) +
                        " pages in one message; at most " + std::to_string(kPagesPerMessageMax) +
                        " are allowed");
  const auto encodings = static_cast<std::size_t>(pages.encoding_size());
  if (encodings != 0 && encodings != count)
    throw ProtocolError("the peer sent " + std::to_string(count) + " pages with " +
                        std::to_string(encodings) + " encodings");

  Payload payload(message.payload);
  Gfn before = 0;
  for (count_ = 0; count_ < count; ++count_) {
    const int at = static_cast<int>(count_);
    const Gfn delta = pages.gfn_delta(at);
    if (count_ != 0 && delta == 0) throw ProtocolError("the peer sent pages out of order");
    // Written so that no sum can overflow: before is below gfn_count already.
    if (delta >= gfn_count - before)
      throw ProtocolError("the peer sent a page beyond the guest's " + std::to_string(gfn_count));
    before += delta;
    EncodedPage& page = pages_[count_];
    page.gfn = before;
    page.encoding = encodings == 0 ? RAW : pages.encoding(at);
    take_contents(page, payload);
  }
  if (payload.left() != 0)
    throw ProtocolError("the peer sent pages with " + std::to_string(payload.left()) +
                        " bytes of payload too many");
}

// Exactly `size` bytes of what the page's LZ4 block holds.
void decompress(const EncodedPage& page, std::byte* out, std::size_t size) {
  const int got = LZ4_decompress_safe(lz4_in(page.bytes), lz4_out(out), static_cast<int>(page.size),
                                      static_cast<int>(size));
  if (got < 0) refuse(page.gfn, "in LZ4 that cannot be decompressed");
  if (static_cast<std::size_t>(got) != size)
    refuse(page.gfn, "in LZ4 that makes " + std::to_string(got) + " bytes instead of " +
                         std::to_string(size));
}

}  // namespace

std::uint64_t CodecCounters::all_pages() const {
  return std::accumulate(pages.begin(), pages.end(), std::uint64_t{0});
}

std::uint64_t CodecCounters::all_bytes() const {
  return std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0});
}

const char* encoding_name(std::size_t encoding) {
  constexpr const char* kNames[] = {"raw", "zero", "unchanged", "delta", "lz4"};
  static_assert(std::size(kNames) == kPageEncodings);
  return kNames[encoding];
}

CodecCounters& CodecCounters::operator+=(const CodecCounters& other) {
  for (std::size_t i = 0; i < kPageEncodings; ++i) {
    pages[i] += other.pages[i];
    bytes[i] += other.bytes[i];
  }
  return *this;
}

CodecCounters& CodecCounters::operator-=(const CodecCounters& other) {
  for (std::size_t i = 0; i < kPageEncodings; ++i) {
    pages[i] -= other.pages[i];
    bytes[i] -= other.bytes[i];
  }
  return *this;
}

struct PageEncoder::Work {
  // A delta to out, which has kAttemptBytesMax; returns its size, or 0 when it would not save
  // enough.
  std::size_t delta(std::uint64_t mask, const std::byte* before, const std::byte* page,
                    std::byte* out) {
    const auto size = static_cast<std::size_t>(std::popcount(mask)) * kLineBytes;
    std::size_t at = 0;
    each_line(mask, [&](std::size_t line) {
      xor_line(difference.data() + at, before + line, page + line);
      at += kLineBytes;
    });
    std::size_t length = size;
    if (is_sparse(difference.data(), size))
      length = lz4.compress(difference.data(), size, out + kDeltaHeadBytes);
    length = std::min(length, size);
    if (kDeltaHeadBytes + length > kEncodedBytesMax) return 0;
    if (length == size) std::memcpy(out + kDeltaHeadBytes, difference.data(), size);
    store(mask, kMaskBytes, out);
    store(length, kLengthBytes, out + kMaskBytes);
    return kDeltaHeadBytes + length;
  }

  void add(const std::byte* bytes, std::size_t size) {
    // Neighbours that stay neighbours go in one copy.
    if (!pieces.empty() && pieces.back().data() + pieces.back().size() == bytes)
      pieces.back() = {pieces.back().data(), pieces.back().size() + size};
    else
      pieces.emplace_back(bytes, size);
    payload_bytes += size;
  }

  // The longest that an attempt at a page can come out, before it is given up.
  static constexpr std::size_t kAttemptBytesMax = kDeltaHeadBytes + LZ4_COMPRESSBOUND(kPageBytes);

  Lz4Compressor lz4;
  std::array<std::byte, kPageBytes> difference;
  std::array<std::byte, kAttemptBytesMax> second;  // a second attempt at a page
  // What was encoded for this message, with room for one attempt more.
  std::array<std::byte, kPagesPerMessageMax * kEncodedBytesMax + kAttemptBytesMax> encoded;
  std::size_t encoded_bytes = 0;
  // The payload: of `encoded`, and of the caller's pages.
  std::vector<std::span<const std::byte>> pieces;
  std::size_t payload_bytes = 0;
};

PageEncoder::PageEncoder(std::size_t cache_pages, bool compress)
    : compress_(compress),
      cache_(compress ? cache_pages : 0),
      work_(std::make_unique_for_overwrite<Work>()) {
  work_->pieces.reserve(kPagesPerMessageMax);
}
PageEncoder::~PageEncoder() = default;
PageEncoder::PageEncoder(PageEncoder&&) noexcept = default;
PageEncoder& PageEncoder::operator=(PageEncoder&&) noexcept = default;

Message PageEncoder::encode(Epoch epoch, std::span<const Gfn> gfns, const std::byte* data) {
  if (gfns.size() > kPagesPerMessageMax)
    throw ProtocolError("a message would carry " + std::to_string(gfns.size()) +
                        " pages; at most " + std::to_string(kPagesPerMessageMax) + " are allowed");
  if (std::adjacent_find(gfns.begin(), gfns.end(), std::greater_equal<>()) != gfns.end())
    throw ProtocolError("pages to be sent are not in ascending order");

  Message message;
  auto* pages = message.envelope.mutable_pages();
  pages->set_epoch(epoch);
  pages->mutable_gfn_delta()->Reserve(static_cast<int>(gfns.size()));
  pages->mutable_encoding()->Reserve(static_cast<int>(gfns.size()));
  last_ = {};
  sizes_.clear();
  work_->pieces.clear();
  work_->encoded_bytes = work_->payload_bytes = 0;
  for (std::size_t i = 0; i < gfns.size(); ++i) {
    pages->add_gfn_delta(i == 0 ? gfns[i] : gfns[i] - gfns[i - 1]);
    const std::size_t before = work_->payload_bytes;
    const PageEncoding encoding = encode_page(gfns[i], data + i * kPageBytes);
    pages->add_encoding(encoding);
    ++last_.pages[encoding];
    last_.bytes[encoding] += work_->payload_bytes - before;
    sizes_.push_back(static_cast<std::uint16_t>(work_->payload_bytes - before));
  }
  if (last_.pages[RAW] == gfns.size()) pages->clear_encoding();

  message.payload.reserve(work_->payload_bytes);
  for (const auto piece : work_->pieces)
    message.payload.insert(message.payload.end(), piece.begin(), piece.end());
  total_ += last_;
  return message;
}

PageEncoding PageEncoder::encode_page(Gfn gfn, const std::byte* page) {
  auto slot = cache_.find(gfn);
  std::uint64_t mask = 0;
  if (slot != PageCache::kNone) {
    mask = changed_lines(cache_.data(slot), page);
    if (mask == 0) {
      cache_.touch(slot);
      return UNCHANGED;
    }
  }
  if (is_zero_page(page)) {
    if (slot != PageCache::kNone) cache_.erase(slot);
    return ZERO;
  }

  PageEncoding encoding = RAW;
  std::size_t size = 0;
  if (compress_) {
    std::byte* out = work_->encoded.data() + work_->encoded_bytes;
    if (mask != 0) size = work_->delta(mask, cache_.data(slot), page, out);
    if (size != 0) encoding = DELTA;
    if (size == 0 || size > kSmallDeltaBytes) {
      // The delta stays if LZ4 needs as much.
      std::byte* const attempt = size == 0 ? out : work_->second.data();
      const std::size_t length = work_->lz4.compress(page, kPageBytes, attempt + kLengthBytes);
      if (kLengthBytes + length < (size == 0 ? kEncodedBytesMax + 1 : size)) {
        store(length, kLengthBytes, attempt);
        encoding = LZ4;
        size = kLengthBytes + length;
        if (attempt != out) std::memcpy(out, attempt, size);
      }
    }
    if (encoding != RAW) {
      work_->add(out, size);
      work_->encoded_bytes += size;
    }
  }
  if (encoding == RAW) work_->add(page, kPageBytes);

  if (cache_.capacity() == 0) return encoding;
  if (slot == PageCache::kNone) {
    std::memcpy(cache_.data(cache_.insert(gfn)), page, kPageBytes);
  } else {
    cache_.touch(slot);
    each_line(mask, [&, before = cache_.data(slot)](std::size_t line) {
      std::memcpy(before + line, page + line, kLineBytes);
    });
  }
  return encoding;
}

std::size_t check_pages(const Message& message, Gfn gfn_count) {
  return PageList(message, gfn_count).pages().size();
}

PageDecoder::PageDecoder(Gfn gfn_count, std::size_t cache_pages)
    : gfn_count_(gfn_count), cache_(cache_pages), aside_(kPageBytes) {}

std::byte* PageDecoder::target(Gfn gfn) {
  if (cache_.capacity() == 0) return aside_.data();
  const auto slot = cache_.find(gfn);
  if (slot == PageCache::kNone) return cache_.data(cache_.insert(gfn));
  cache_.touch(slot);
  return cache_.data(slot);
}

std::size_t PageDecoder::decode(const Message& message,
                                const std::function<void(Gfn, const std::byte*)>& put) {
  const PageList list(message, gfn_count_);
  for (const EncodedPage& page : list.pages()) {
    if (page.encoding == RAW) {
      if (cache_.capacity() != 0) std::memcpy(target(page.gfn), page.bytes, kPageBytes);
      put(page.gfn, page.bytes);
      continue;
    }
    if (page.encoding == LZ4) {
      std::byte* const out = target(page.gfn);
      decompress(page, out, kPageBytes);
      put(page.gfn, out);
      continue;
    }
    const auto slot = cache_.find(page.gfn);
    if (page.encoding == ZERO) {
      if (slot != PageCache::kNone) cache_.erase(slot);
      put(page.gfn, kZeroPage.data());
      continue;
    }
    if (slot == PageCache::kNone)
      refuse(page.gfn, "as a change to what it sent before, which is not in the cache");
    cache_.touch(slot);
    if (page.encoding == UNCHANGED) continue;
    const auto size = static_cast<std::size_t>(std::popcount(page.mask)) * kLineBytes;
    const std::byte* difference = page.bytes;
    if (page.size != size) {
      decompress(page, aside_.data(), size);
      difference = aside_.data();
    }
    std::byte* const out = cache_.data(slot);
    each_line(page.mask, [&](std::size_t line) {
      xor_line(out + line, out + line, difference);
      difference += kLineBytes;
    });
    put(page.gfn, out);
  }
  return list.pages().size();
}

}  // namespace specrep::wire
