#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "libspecrep/guest/page.h"
#include "trace.pb.h"

// How a guest wrote to its memory, recorded so that policies can be compared on the same writes.
//
// A trace file, all numbers little-endian:
//   8 bytes   "specrepT"
//   u32       version, 1
//   u32       length of the header
//   header    a TraceHeader
//   u64       XXH3-64 of everything above
// then blocks, the last of them the totals, and nothing after it:
//   u32       kind: 1 samples, 2 totals
//   u32       length as stored
//   u32       length unpacked
//   u64       XXH3-64 of the 12 bytes above and of what is stored, seeded with the block's number
//   stored    a zstd frame
// A block of samples holds these columns, of which those of varints are LEB128:
//   number of samples                      varint
//   time_us less that of the sample before varint each, across blocks
//   ran_us, cost_us, number of pages       varints: a column each
//   gfns less the one before, less one     varint for each page; the first of a sample as it is
//   lines                                  eight planes of a byte for each page, lowest first
//   packed                                 one byte for each page
// The totals are three varints: samples, pages, and the time_us of the last sample.
namespace specrep::trace {

// PageWrite::packed of a page that is all zero now.
inline constexpr std::uint8_t kZeroPage = 255;
// The most that PageWrite::packed says otherwise. A page that does not pack at all would be 256.
inline constexpr std::uint8_t kPackedMax = 254;

inline constexpr unsigned kPackedUnitBytes = 16;

// One dirty page of one sample.
struct PageWrite {
  Gfn gfn;
  // Bit i: bytes 64*i..64*i+63 differ from what they were at the page's last sample; 0: written,
  // not changed.
  std::uint64_t lines;
  // What the changed lines cost packed, in units of 16 bytes rounded up: LZ4 of the XOR with the
  // old content where that was at hand, else of the new lines. At most 4 a line, and kPackedMax;
  // or kZeroPage.
  std::uint8_t packed;

  bool operator==(const PageWrite&) const = default;
};

struct Sample {
  // Nominal: guest run time since the trace's start at which the sample was due. Strictly
  // ascending.
  std::uint64_t time_us = 0;
  std::uint32_t ran_us = 0;      // how long the guest really ran since the sample before
  std::uint32_t cost_us = 0;     // what reading and cleaning the log took
  std::vector<PageWrite> pages;  // ascending by gfn

  bool operator==(const Sample&) const = default;
};

// When in an epoch its samples are due, from its start, ascending; the last is the epoch's end.
// Throws Error for a grid that makes no sense.
std::vector<std::uint64_t> grid_us(std::uint32_t epoch_ms, std::uint32_t finest_us);

enum class Packing {
  kFast,   // while a guest waits
  kSmall,  // for keeping; fifty times the work
};

class Writer {
 public:
  // Replaces a file that is there. Throws Error, as all here.
  Writer(const std::string& path, const TraceHeader& header, Packing packing = Packing::kFast);
  // Packs and writes a block now and then.
  void append(const Sample& sample);
  // Without it the file counts as truncated.
  void finish();

 private:
  void write_block(std::uint32_t kind, const std::vector<std::uint8_t>& data);
  void flush_samples();
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_;
  std::ofstream file_;
  int level_;  // zstd's
  Gfn gfn_count_;
  std::uint64_t blocks_ = 0;
  std::uint64_t samples_ = 0, pages_ = 0, last_us_ = 0;
  std::uint64_t block_first_us_ = 0;  // last_us_ when the block was begun
  std::vector<Sample> waiting_;
  std::size_t waiting_pages_ = 0;
};

class Reader {
 public:
  // Throws Error, which names the file, when it is no trace, truncated or corrupt; so does next().
  explicit Reader(const std::string& path);
  const TraceHeader& header() const { return header_; }
  // False after the last sample.
  bool next(Sample& sample);
  std::uint64_t file_bytes() const { return file_bytes_; }

 private:
  void read(void* out, std::size_t bytes);
  void read_block();
  void decode_samples(const std::vector<std::uint8_t>& data);
  void check_totals(const std::vector<std::uint8_t>& data);
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_;
  std::ifstream file_;
  std::uint64_t file_bytes_ = 0, left_ = 0;
  TraceHeader header_;
  std::uint64_t blocks_ = 0;
  std::uint64_t samples_ = 0, pages_ = 0, last_us_ = 0;
  bool ended_ = false;
  std::vector<Sample> block_;
  std::size_t next_in_block_ = 0;
};

}  // namespace specrep::trace
