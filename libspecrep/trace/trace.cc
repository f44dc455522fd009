#include "libspecrep/trace/trace.h"

#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <span>

#include "libspecrep/error.h"

namespace specrep::trace {

static_assert(std::endian::native == std::endian::little);

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::array<char, 8> kMagic = {'s', 'p', 'e', 'c', 'r', 'e', 'p', 'T'};
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kSamplesBlock = 1;
constexpr std::uint32_t kTotalsBlock = 2;

constexpr std::uint32_t kHeaderBytesMax = 64 * 1024;
// 16 TiB of guest: beyond what Xen 4.17 supports.
constexpr Gfn kGfnCountMax = Gfn{1} << 32;
// A block ends with the sample that brings it here: some hundred KiB unpacked.
constexpr std::size_t kBlockPages = 32 * 1024;
// Samples without pages need space, too.
constexpr std::size_t kBlockSamples = 16 * 1024;
// 32 GiB written between two samples.
constexpr std::size_t kSamplePagesMax = 8 * 1024 * 1024;
// A page's gfn, lines and packed.
constexpr std::size_t kPageBytesMin = 1 + 8 + 1;
constexpr std::size_t kPageBytesMax = 10 + 8 + 1;
// time_us, ran_us, cost_us, pages
constexpr std::size_t kSampleBytesMin = 4;
constexpr std::size_t kSampleBytesMax = 10 + 5 + 5 + 5;
constexpr std::size_t kBlockBytesMax =
    16 + kBlockSamples * kSampleBytesMax + (kBlockPages + kSamplePagesMax) * kPageBytesMax;
static_assert(kBlockBytesMax < std::numeric_limits<std::uint32_t>::max() / 2);
constexpr int kFastLevel = 1, kSmallLevel = 19;

struct FileHead {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t header_bytes;
};
static_assert(sizeof(FileHead) == 16);

struct BlockHead {
  std::uint32_t kind;
  std::uint32_t stored_bytes;
  std::uint32_t unpacked_bytes;
};
static_assert(sizeof(BlockHead) == 12);

std::uint64_t checksum(std::span<const std::uint8_t> head, std::span<const std::uint8_t> body,
                       std::uint64_t seed) {
  const XXH64_hash_t of_head = XXH3_64bits_withSeed(head.data(), head.size(), seed);
  return XXH3_64bits_withSeed(body.data(), body.size(), of_head);
}

template <typename T>
std::span<const std::uint8_t> bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

std::span<const std::uint8_t> bytes_of_string(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

void put_varint(Bytes& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::uint8_t>(value | 0x80));
  out.push_back(static_cast<std::uint8_t>(value));
}

// Nothing of a block is believed before it is checked, although its checksum was right: a file may
// be made by hand.
class Cursor {
 public:
  explicit Cursor(const Bytes& data) : data_(data) {}

  bool varint(std::uint64_t& value, std::uint64_t max) {
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == data_.size()) return false;
      const std::uint64_t byte = data_[at_++];
      if (shift == 63 && byte > 1) return false;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value <= max;
    }
    return false;
  }
  std::size_t left() const { return data_.size() - at_; }
  const std::uint8_t* take(std::size_t bytes) {
    const auto* start = data_.data() + at_;
    at_ += bytes;
    return start;
  }

 private:
  const Bytes& data_;
  std::size_t at_ = 0;
};

bool packed_makes_sense(const PageWrite& page) {
  if (page.packed == kZeroPage) return true;
  return page.packed <=
         std::min<unsigned>(static_cast<unsigned>(std::popcount(page.lines)) * 4, kPackedMax);
}

}  // namespace

std::vector<std::uint64_t> grid_us(std::uint32_t epoch_ms, std::uint32_t finest_us) {
  if (epoch_ms == 0) throw Error("an epoch of 0 ms cannot be sampled");
  if (finest_us == 0) throw Error("samples cannot be 0 us apart");
  const std::uint64_t epoch_us = std::uint64_t{epoch_ms} * 1000;
  std::vector<std::uint64_t> due = {epoch_us};
  for (std::uint64_t before = finest_us; before < epoch_us; before *= 2)
    due.push_back(epoch_us - before);
  std::reverse(due.begin(), due.end());
  return due;
}

// Writer

Writer::Writer(const std::string& path, const TraceHeader& header, Packing packing)
    : path_(path),
      level_(packing == Packing::kFast ? kFastLevel : kSmallLevel),
      gfn_count_(header.gfn_count()) {
  if (gfn_count_ > kGfnCountMax) fail("the guest has too many frames for a trace");
  std::string encoded;
  if (!header.SerializeToString(&encoded) || encoded.size() > kHeaderBytesMax)
    fail("the description of the trace is too long");
  file_.open(path, std::ios::binary | std::ios::trunc);
  if (!file_) fail(errno_text("cannot create it"));
  const FileHead head{kMagic, kVersion, static_cast<std::uint32_t>(encoded.size())};
  const std::uint64_t sum = checksum(bytes_of(head), bytes_of_string(encoded), 0);
  file_.write(reinterpret_cast<const char*>(&head), sizeof head);
  file_.write(encoded.data(), static_cast<std::streamsize>(encoded.size()));
  file_.write(reinterpret_cast<const char*>(&sum), sizeof sum);
  if (!file_.flush()) fail(errno_text("cannot write to it"));
}

void Writer::fail(const std::string& what) const { throw Error("trace " + path_ + ": " + what); }

void Writer::append(const Sample& sample) {
  if (samples_ != 0 && sample.time_us <= last_us_) fail("samples are not in ascending order");
  if (sample.pages.size() > kSamplePagesMax) fail("a sample has too many pages");
  for (std::size_t i = 0; i < sample.pages.size(); ++i) {
    const PageWrite& page = sample.pages[i];
    if (i != 0 && page.gfn <= sample.pages[i - 1].gfn) fail("pages are not in ascending order");
    if (page.gfn >= gfn_count_) fail("a page is beyond the guest's frames");
    if (!packed_makes_sense(page)) fail("a page packs to more than its lines");
  }
  waiting_.push_back(sample);
  waiting_pages_ += sample.pages.size();
  ++samples_;
  pages_ += sample.pages.size();
  last_us_ = sample.time_us;
  if (waiting_pages_ >= kBlockPages || waiting_.size() >= kBlockSamples) flush_samples();
}

void Writer::flush_samples() {
  if (waiting_.empty()) return;
  Bytes data;
  data.reserve(waiting_.size() * 12 + waiting_pages_ * 12);
  put_varint(data, waiting_.size());
  std::uint64_t before = block_first_us_;
  for (const Sample& sample : waiting_) {
    put_varint(data, sample.time_us - before);
    before = sample.time_us;
  }
  for (const Sample& sample : waiting_) put_varint(data, sample.ran_us);
  for (const Sample& sample : waiting_) put_varint(data, sample.cost_us);
  for (const Sample& sample : waiting_) put_varint(data, sample.pages.size());
  for (const Sample& sample : waiting_) {
    Gfn expected = 0;
    for (const PageWrite& page : sample.pages) {
      put_varint(data, page.gfn - expected);
      expected = page.gfn + 1;
    }
  }
  for (unsigned shift = 0; shift < 64; shift += 8)
    for (const Sample& sample : waiting_)
      for (const PageWrite& page : sample.pages)
        data.push_back(static_cast<std::uint8_t>(page.lines >> shift));
  for (const Sample& sample : waiting_)
    for (const PageWrite& page : sample.pages) data.push_back(page.packed);
  write_block(kSamplesBlock, data);
  block_first_us_ = last_us_;
  waiting_.clear();
  waiting_pages_ = 0;
}

void Writer::write_block(std::uint32_t kind, const Bytes& data) {
  Bytes stored(ZSTD_compressBound(data.size()));
  const std::size_t bytes =
      ZSTD_compress(stored.data(), stored.size(), data.data(), data.size(), level_);
  if (ZSTD_isError(bytes)) fail(std::string("cannot pack it: ") + ZSTD_getErrorName(bytes));
  stored.resize(bytes);
  const BlockHead head{kind, static_cast<std::uint32_t>(bytes),
                       static_cast<std::uint32_t>(data.size())};
  const std::uint64_t sum = checksum(bytes_of(head), stored, ++blocks_);
  file_.write(reinterpret_cast<const char*>(&head), sizeof head);
  file_.write(reinterpret_cast<const char*>(&sum), sizeof sum);
  file_.write(reinterpret_cast<const char*>(stored.data()),
              static_cast<std::streamsize>(stored.size()));
  if (!file_.flush()) fail(errno_text("cannot write to it"));
}

void Writer::finish() {
  flush_samples();
  Bytes totals;
  put_varint(totals, samples_);
  put_varint(totals, pages_);
  put_varint(totals, last_us_);
  write_block(kTotalsBlock, totals);
  file_.close();
  if (!file_) fail(errno_text("cannot write to it"));
}

// Reader

Reader::Reader(const std::string& path) : path_(path) {
  std::error_code error;
  file_bytes_ = left_ = std::filesystem::file_size(path, error);
  if (error) fail("cannot read it: " + error.message());
  file_.open(path, std::ios::binary);
  if (!file_) fail(errno_text("cannot read it"));

  FileHead head{};
  if (left_ < sizeof head) fail("it is not a trace");
  read(&head, sizeof head);
  if (head.magic != kMagic) fail("it is not a trace");
  if (head.version != kVersion)
    fail("it has version " + std::to_string(head.version) + "; this program reads version " +
         std::to_string(kVersion));
  if (head.header_bytes > kHeaderBytesMax) fail("it is corrupt: its header is too long");
  std::string encoded;
  if (head.header_bytes > left_) fail("it is truncated");
  encoded.resize(head.header_bytes);
  read(encoded.data(), encoded.size());
  std::uint64_t sum = 0;
  read(&sum, sizeof sum);
  if (sum != checksum(bytes_of(head), bytes_of_string(encoded), 0))
    fail("it is corrupt: the checksum of its header is wrong");
  if (!header_.ParseFromString(encoded)) fail("it is corrupt: its header cannot be read");
  if (header_.gfn_count() > kGfnCountMax) fail("it is corrupt: its guest has too many frames");
}

void Reader::fail(const std::string& what) const {
  const std::string where = blocks_ == 0 ? "" : " (block " + std::to_string(blocks_) + ")";
  throw Error("trace " + path_ + ": " + what + where);
}

void Reader::read(void* out, std::size_t bytes) {
  if (bytes > left_) fail("it is truncated");
  if (!file_.read(static_cast<char*>(out), static_cast<std::streamsize>(bytes)))
    fail("it cannot be read to its end");
  left_ -= bytes;
}

bool Reader::next(Sample& sample) {
  while (next_in_block_ == block_.size()) {
    if (ended_) return false;
    read_block();
  }
  sample = std::move(block_[next_in_block_++]);
  return true;
}

void Reader::read_block() {
  block_.clear();
  next_in_block_ = 0;
  ++blocks_;
  BlockHead head{};
  std::uint64_t sum = 0;
  read(&head, sizeof head);
  read(&sum, sizeof sum);
  if (head.unpacked_bytes > kBlockBytesMax ||
      head.stored_bytes > ZSTD_compressBound(kBlockBytesMax))
    fail("it is corrupt: a block is too long");
  if (head.stored_bytes > left_) fail("it is truncated");
  Bytes stored(head.stored_bytes);
  read(stored.data(), stored.size());
  if (sum != checksum(bytes_of(head), stored, blocks_))
    fail("it is corrupt: the checksum of a block is wrong");
  // What the frame says of itself must agree before memory is taken for it.
  if (ZSTD_getFrameContentSize(stored.data(), stored.size()) != head.unpacked_bytes)
    fail("it is corrupt: a block has another length than it says");
  Bytes data(head.unpacked_bytes);
  const std::size_t got = ZSTD_decompress(data.data(), data.size(), stored.data(), stored.size());
  if (ZSTD_isError(got) || got != data.size()) fail("it is corrupt: a block cannot be unpacked");
  if (head.kind == kSamplesBlock)
    decode_samples(data);
  else if (head.kind == kTotalsBlock)
    check_totals(data);
  else
    fail("it is corrupt: a block is of the unknown kind " + std::to_string(head.kind));
}

void Reader::decode_samples(const Bytes& data) {
  constexpr std::uint64_t kMax32 = std::numeric_limits<std::uint32_t>::max();
  const auto corrupt = [&](const char* what) { fail(std::string("it is corrupt: ") + what); };
  Cursor in(data);
  std::uint64_t count = 0, value = 0;
  if (!in.varint(count, std::min(in.left() / kSampleBytesMin, kBlockSamples)) || count == 0)
    corrupt("a block has a wrong number of samples");
  std::vector<Sample> samples(count);
  for (Sample& sample : samples) {
    if (!in.varint(value, std::numeric_limits<std::uint64_t>::max() - last_us_) ||
        (value == 0 && samples_ != 0))
      corrupt("samples are not in ascending order");
    last_us_ = sample.time_us = last_us_ + value;
    ++samples_;
  }
  for (Sample& sample : samples) {
    if (!in.varint(value, kMax32)) corrupt("a sample's run time cannot be read");
    sample.ran_us = static_cast<std::uint32_t>(value);
  }
  for (Sample& sample : samples) {
    if (!in.varint(value, kMax32)) corrupt("a sample's cost cannot be read");
    sample.cost_us = static_cast<std::uint32_t>(value);
  }
  std::vector<std::size_t> sizes(samples.size());
  std::size_t pages = 0;
  for (std::size_t& size : sizes) {
    // Their columns must still fit behind.
    const bool read = in.varint(value, kSamplePagesMax);
    pages += value;
    if (!read || pages > in.left() / kPageBytesMin) corrupt("a sample has a wrong number of pages");
    size = value;
  }
  for (std::size_t s = 0; s < samples.size(); ++s) {
    samples[s].pages.resize(sizes[s]);
    Gfn expected = 0;
    for (PageWrite& page : samples[s].pages) {
      if (expected >= header_.gfn_count() || !in.varint(value, header_.gfn_count() - 1 - expected))
        corrupt("a page is beyond the guest's frames");
      page.gfn = expected + value;
      page.lines = 0;
      expected = page.gfn + 1;
    }
  }
  if (in.left() != pages * 9) corrupt("a block has a wrong length");
  for (unsigned shift = 0; shift < 64; shift += 8) {
    const std::uint8_t* plane = in.take(pages);
    for (Sample& sample : samples)
      for (PageWrite& page : sample.pages) page.lines |= std::uint64_t{*plane++} << shift;
  }
  const std::uint8_t* packed = in.take(pages);
  for (Sample& sample : samples) {
    for (PageWrite& page : sample.pages) {
      page.packed = *packed++;
      if (!packed_makes_sense(page)) corrupt("a page packs to more than its lines");
    }
  }
  pages_ += pages;
  block_ = std::move(samples);
}

void Reader::check_totals(const Bytes& data) {
  constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();
  Cursor in(data);
  std::uint64_t samples = 0, pages = 0, last_us = 0;
  if (!in.varint(samples, kAny) || !in.varint(pages, kAny) || !in.varint(last_us, kAny) ||
      in.left() != 0 || samples != samples_ || pages != pages_ || last_us != last_us_)
    fail("it is corrupt: its totals do not agree with its samples");
  if (left_ != 0) fail("it is corrupt: something follows its end");
  ended_ = true;
}

}  // namespace specrep::trace
