#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "libspecrep/guest/page.h"
#include "libspecrep/wire/message.h"
#include "libspecrep/wire/page_cache.h"

// Pages on the wire. Each is sent in the encoding that costs least:
//
//   UNCHANGED  what was last sent, again: no payload, and the backup has nothing to do
//   ZERO       no payload
//   DELTA      u64 mask of the 64-byte lines that differ from what was last sent, u16 length,
//              then those lines XORed with what was last sent: an LZ4 block, or, when length is
//              all of 64 bytes a line, the bytes themselves
//   LZ4        u16 length, an LZ4 block of the page
//   RAW        the page
//
// Numbers are little-endian. UNCHANGED and DELTA need what was last sent: encoder and decoder
// each keep a PageCache. The two stay alike because both do the same to it for each page, in the
// order of the link, and what they do depends on nothing but the page's number and encoding:
// UNCHANGED makes the page the most recently used; DELTA, LZ4 and RAW store it as the most
// recently used, where the least recently used makes room; ZERO drops it. Messages are never
// lost one by one. An epoch that fails to commit does not matter: its versions are in both
// caches, and where they are not, the link is dead and both caches with it.
//
// A cache knows pages that were sent through its own encoder only. An encoder without one
// (capacity 0) makes messages that stand for themselves, so that their decoder may be another
// for each message: so the first copy is sent, which the backup decodes on another thread.
namespace specrep::wire {

inline constexpr std::size_t kPageEncodings = PageEncoding_ARRAYSIZE;

// For reports: "raw", "zero", …
const char* encoding_name(std::size_t encoding);

// What encoding has done, by PageEncoding.
struct CodecCounters {
  std::array<std::uint64_t, kPageEncodings> pages{};
  std::array<std::uint64_t, kPageEncodings> bytes{};  // of payload

  std::uint64_t all_pages() const;
  std::uint64_t all_bytes() const;
  CodecCounters& operator+=(const CodecCounters& other);
  CodecCounters& operator-=(const CodecCounters& other);
};

// Not thread-safe.
class PageEncoder {
 public:
  // Without `compress` pages go RAW and ZERO, and the cache is not used.
  PageEncoder(std::size_t cache_pages, bool compress);
  ~PageEncoder();
  PageEncoder(PageEncoder&&) noexcept;
  PageEncoder& operator=(PageEncoder&&) noexcept;

  // gfns ascend, at most kPagesPerMessageMax; data holds kPageBytes for each. The message must
  // be sent, and in this order. Throws ProtocolError, and is then as before.
  Message encode(Epoch epoch, std::span<const Gfn> gfns, const std::byte* data);

  const CodecCounters& last() const { return last_; }    // of the newest call
  const CodecCounters& total() const { return total_; }  // of all calls
  // Payload bytes of each page of the newest call.
  std::span<const std::uint16_t> sizes() const { return sizes_; }

 private:
  struct Work;  // LZ4's state, and room for what it makes

  // One page; what it adds to the payload goes to work_.
  PageEncoding encode_page(Gfn gfn, const std::byte* page);

  bool compress_;
  PageCache cache_;
  std::unique_ptr<Work> work_;
  CodecCounters last_, total_;
  std::vector<std::uint16_t> sizes_;
};

// What can be told of a Pages message without decoding its pages: gfns ascend and are below
// gfn_count, encodings are known, the payload has exactly the bytes that they call for. Returns
// the number of pages. Throws ProtocolError.
std::size_t check_pages(const Message& message, Gfn gfn_count);

// Not thread-safe.
class PageDecoder {
 public:
  // cache_pages: as many as the encoder's; 0 refuses UNCHANGED and DELTA.
  PageDecoder(Gfn gfn_count, std::size_t cache_pages);

  // Calls put(gfn, page) for each page of the message that changed; `page` is good during the
  // call. Returns the number of page versions, those that are UNCHANGED included.
  //
  // Throws ProtocolError for whatever no encoder makes: at once and without a call for what
  // check_pages() finds, else at the page. Nothing is undone then: the link is dead.
  std::size_t decode(const Message& message, const std::function<void(Gfn, const std::byte*)>& put);

 private:
  // Where the page's new contents go: into the cache, or aside.
  std::byte* target(Gfn gfn);

  Gfn gfn_count_;
  PageCache cache_;
  std::vector<std::byte> aside_;
};

}  // namespace specrep::wire
