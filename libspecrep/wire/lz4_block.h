#pragma once

#include <lz4.h>

#include <cstddef>

namespace specrep::wire {

// Makes LZ4 blocks with one state that is reset, not cleared. LZ4_compress_default(),
// LZ4_compress_fast_extState() and any call with less room than the bound clear 16 KiB each time,
// which takes longer than compressing a few lines of a page.
class Lz4Compressor {
 public:
  Lz4Compressor() { LZ4_initStream(&stream_, sizeof stream_); }

  // out: LZ4_COMPRESSBOUND(size) bytes. Returns how many were written.
  std::size_t compress(const std::byte* in, std::size_t size, std::byte* out) {
    LZ4_resetStream_fast(&stream_);
    return static_cast<std::size_t>(LZ4_compress_fast_continue(
        &stream_, reinterpret_cast<const char*>(in), reinterpret_cast<char*>(out),
        static_cast<int>(size), LZ4_COMPRESSBOUND(static_cast<int>(size)), 1));
  }

 private:
  LZ4_stream_t stream_;
};

}  // namespace specrep::wire
