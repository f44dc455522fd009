#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/guest/guest.h"
#include "libspecrep/trace/trace.h"
#include "libspecrep/wire/page_cache.h"

namespace specrep::trace {

struct RecorderOptions {
  std::uint32_t epoch_ms = 100;
  std::uint32_t finest_us = 1000;
  // Whole old pages that are kept for the XOR with their next version.
  std::size_t old_pages_bytes = std::size_t{64} << 20;
};

// Records what a guest writes. Its time is the guest's run time: all work on a sample is done
// while the guest is paused, so that it does not matter how long that takes, nor whether the
// guest shares its CPU with this process.
//
// The first calls of step() read all of memory, with the guest running, to know what it holds.
// The trace starts when that is done.
class Recorder {
 public:
  // Pausing is not Guest::stop(): the guest does not notice, and nothing of it is captured.
  struct Hooks {
    std::function<void()> pause, unpause;
    // Called for each sample with the guest paused.
    std::function<void(const Sample&)> on_sample;
  };

  // Turns the dirty log on. Throws Error for a grid that makes no sense.
  Recorder(guest::Guest& guest, const Clock& clock, Hooks hooks, const RecorderOptions& options);
  // Turns it off.
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // Does what is due and returns when it wants to be called again; until then the caller should
  // only sleep. Whatever it throws, the guest runs.
  TimePoint step();

  // Pages of memory at the start, and how many of them have been read.
  std::uint64_t pages_total() const { return to_read_.size(); }
  std::uint64_t pages_read() const { return read_; }
  std::uint64_t epochs() const { return epochs_; }  // complete ones
  std::uint64_t samples() const { return samples_; }
  std::uint64_t pages_written() const { return pages_written_; }
  // Of the last sample: cleaning the log, and reading and comparing its pages.
  Duration cleaning() const { return cleaning_; }
  Duration comparing() const { return comparing_; }

 private:
  using Hashes = std::array<std::uint32_t, kLinesPerPage>;
  class Packer;
  class Paused;

  void start();
  TimePoint take_sample();
  void fetch_dirty();
  void compare_all(std::span<const Gfn> gfns, Sample* sample);
  void compare(Gfn gfn, const std::byte* page, Sample* sample);
  Hashes* hashes_of(Gfn gfn);
  TimePoint next_due() const;

  guest::Guest& guest_;
  const Clock& clock_;
  Hooks hooks_;
  std::vector<std::uint64_t> grid_;

  PageBitmap dirty_;
  std::vector<Gfn> to_read_;
  std::uint64_t read_ = 0;
  bool started_ = false;

  // Of every page that was ever read: the hash of each of its lines.
  std::vector<std::uint32_t> slot_;  // by gfn: index into hashes_ plus one; 0: never read
  std::vector<Hashes> hashes_;
  wire::PageCache old_pages_;  // the pages that were written last, as they were then
  std::unique_ptr<Packer> packer_;

  std::vector<Gfn> gfns_;
  std::vector<std::byte> content_;
  std::vector<std::uint8_t> present_;

  TimePoint resumed_{};  // when the guest began to run after the last sample
  Duration ran_{};       // in all, up to then
  std::uint64_t epochs_ = 0;
  std::size_t next_in_grid_ = 0;
  std::uint64_t samples_ = 0, pages_written_ = 0;
  Duration cleaning_{}, comparing_{};
};

}  // namespace specrep::trace
