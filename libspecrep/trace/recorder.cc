#include "libspecrep/trace/recorder.h"

#include <spdlog/spdlog.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "libspecrep/error.h"
#include "libspecrep/wire/lz4_block.h"

namespace specrep::trace {

namespace {

// Pages that are copied and compared at a time: what a CPU's cache still holds.
constexpr std::size_t kBatch = 256;

using LineHash = std::uint32_t (*)(const std::byte*);

std::uint32_t xxh3_of_line(const std::byte* line) {
  return static_cast<std::uint32_t>(XXH3_64bits(line, kLineBytes));
}

#ifdef __x86_64__
// Eight instructions a line, and it never misses a change of up to 32 neighbouring bits.
__attribute__((target("sse4.2"))) std::uint32_t crc32_of_line(const std::byte* line) {
  std::uint64_t crc = ~std::uint32_t{0};
  for (std::size_t at = 0; at < kLineBytes; at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, line + at, sizeof word);
    crc = __builtin_ia32_crc32di(crc, word);
  }
  return static_cast<std::uint32_t>(crc);
}
#endif

LineHash choose_line_hash() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("sse4.2")) return crc32_of_line;
#endif
  return xxh3_of_line;
}

const LineHash hash_of_line = choose_line_hash();

std::uint32_t microseconds32(Duration d) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(microseconds(d), 0xffffffff));
}

}  // namespace

class Recorder::Packer {
 public:
  // `old` may be nullptr. As the page codec does: contents that were replaced pack better by
  // themselves than as a difference.
  std::uint8_t packed(const std::byte* page, const std::byte* old, std::uint64_t lines) {
    std::size_t stored = packed_bytes(page, old, lines);
    if (old && std::popcount(lines) > kFewLines)
      stored = std::min(stored, packed_bytes(page, nullptr, lines));
    return static_cast<std::uint8_t>(
        std::min<std::size_t>((stored + kPackedUnitBytes - 1) / kPackedUnitBytes, kPackedMax));
  }

 private:
  static constexpr int kFewLines = 16;

  std::size_t packed_bytes(const std::byte* page, const std::byte* old, std::uint64_t lines) {
    std::size_t bytes = 0;
    for (std::uint64_t left = lines; left != 0; left &= left - 1) {
      const std::size_t at = static_cast<std::size_t>(std::countr_zero(left)) * kLineBytes;
      std::memcpy(in_ + bytes, page + at, kLineBytes);
      if (old)
        for (std::size_t i = 0; i < kLineBytes; ++i) in_[bytes + i] ^= old[at + i];
      bytes += kLineBytes;
    }
    return std::min(bytes, lz4_.compress(in_, bytes, out_));
  }

  wire::Lz4Compressor lz4_;
  std::byte in_[kPageBytes];
  std::byte out_[LZ4_COMPRESSBOUND(kPageBytes)];
};

// The guest paused, for as long as this lives.
class Recorder::Paused {
 public:
  explicit Paused(const Hooks& hooks) : hooks_(hooks) { hooks_.pause(); }
  ~Paused() {
    if (ended_) return;
    try {
      hooks_.unpause();
    } catch (const std::exception& error) {
      spdlog::error(error.what());
    }
  }
  void end() {
    hooks_.unpause();
    ended_ = true;
  }

 private:
  const Hooks& hooks_;
  bool ended_ = false;
};

Recorder::Recorder(guest::Guest& guest, const Clock& clock, Hooks hooks,
                   const RecorderOptions& options)
    : guest_(guest),
      clock_(clock),
      hooks_(std::move(hooks)),
      grid_(grid_us(options.epoch_ms, options.finest_us)),
      dirty_(guest.gfn_count()),
      slot_(guest.gfn_count()),
      old_pages_(options.old_pages_bytes / kPageBytes),
      packer_(std::make_unique<Packer>()),
      content_(kBatch * kPageBytes),
      present_(kBatch) {
  guest_.start_dirty_log();
  try {
    guest_.populated(dirty_);
    dirty_.list(to_read_);
    hashes_.reserve(to_read_.size());
  } catch (...) {
    guest_.stop_dirty_log();
    throw;
  }
}

Recorder::~Recorder() { guest_.stop_dirty_log(); }

Recorder::Hashes* Recorder::hashes_of(Gfn gfn) {
  return slot_[gfn] == 0 ? nullptr : &hashes_[slot_[gfn] - 1];
}

// With `sample` the change is added to that; without, it is only noted what the page holds.
void Recorder::compare(Gfn gfn, const std::byte* page, Sample* sample) {
  Hashes* hashes = hashes_of(gfn);
  std::uint64_t lines = 0;
  if (!hashes) {
    hashes_.emplace_back();
    slot_[gfn] = static_cast<std::uint32_t>(hashes_.size());
    hashes = &hashes_.back();
    for (std::size_t i = 0; i < kLinesPerPage; ++i)
      (*hashes)[i] = hash_of_line(page + i * kLineBytes);
    lines = ~std::uint64_t{0};
  } else {
    for (std::size_t i = 0; i < kLinesPerPage; ++i) {
      const std::uint32_t hash = hash_of_line(page + i * kLineBytes);
      lines |= std::uint64_t{hash != (*hashes)[i]} << i;
      (*hashes)[i] = hash;
    }
  }
  if (!sample) return;

  const auto slot = old_pages_.find(gfn);
  std::byte* const old = slot == wire::PageCache::kNone ? nullptr : old_pages_.data(slot);
  std::uint8_t packed = 0;
  if (is_zero_page(page))
    packed = kZeroPage;
  else if (lines != 0)
    packed = packer_->packed(page, old, lines);
  if (old) {
    old_pages_.touch(slot);
    if (lines != 0) std::memcpy(old, page, kPageBytes);
  } else if (old_pages_.capacity() != 0) {
    std::memcpy(old_pages_.data(old_pages_.insert(gfn)), page, kPageBytes);
  }
  sample->pages.push_back({gfn, lines, packed});
}

void Recorder::compare_all(std::span<const Gfn> gfns, Sample* sample) {
  while (!gfns.empty()) {
    const auto batch = gfns.first(std::min(kBatch, gfns.size()));
    guest_.copy_pages(batch, content_.data(), present_.data());
    for (std::size_t i = 0; i < batch.size(); ++i)
      if (present_[i]) compare(batch[i], content_.data() + i * kPageBytes, sample);
    gfns = gfns.subspan(batch.size());
  }
}

void Recorder::fetch_dirty() {
  const TimePoint before = clock_.now();
  guest_.sample(dirty_);
  cleaning_ = clock_.now() - before;
  dirty_.list(gfns_);
}

// What was written while memory was read is read again, so that the trace starts from what
// memory held at its start.
void Recorder::start() {
  Paused paused(hooks_);
  fetch_dirty();
  compare_all(gfns_, nullptr);
  paused.end();
  started_ = true;
  resumed_ = clock_.now();
}

TimePoint Recorder::next_due() const {
  const std::uint64_t due = epochs_ * grid_.back() + grid_[next_in_grid_];
  return resumed_ + std::chrono::microseconds(due) - ran_;
}

TimePoint Recorder::take_sample() {
  Sample sample;
  sample.time_us = epochs_ * grid_.back() + grid_[next_in_grid_];
  // Before the pause: on a shared CPU the guest does not run while this process does.
  const Duration ran = clock_.now() - resumed_;
  Paused paused(hooks_);
  fetch_dirty();
  // Differences of sums, so that what is cut off does not add up.
  sample.ran_us = static_cast<std::uint32_t>(microseconds(ran_ + ran) - microseconds(ran_));
  sample.cost_us = microseconds32(cleaning_);
  sample.pages.reserve(gfns_.size());
  const TimePoint before = clock_.now();
  compare_all(gfns_, &sample);
  comparing_ = clock_.now() - before;
  pages_written_ += sample.pages.size();
  ++samples_;
  if (++next_in_grid_ == grid_.size()) {
    next_in_grid_ = 0;
    ++epochs_;
  }
  hooks_.on_sample(sample);
  ran_ += ran;
  paused.end();
  resumed_ = clock_.now();
  return next_due();
}

TimePoint Recorder::step() {
  if (read_ < to_read_.size()) {
    const std::size_t count = std::min<std::size_t>(kBatch, to_read_.size() - read_);
    compare_all(std::span<const Gfn>(to_read_).subspan(read_, count), nullptr);
    read_ += count;
    return clock_.now();
  }
  if (!started_) {
    start();
    return next_due();
  }
  const TimePoint due = next_due();
  return clock_.now() < due ? due : take_sample();
}

}  // namespace specrep::trace
