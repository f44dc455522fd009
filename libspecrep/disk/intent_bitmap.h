#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "libspecrep/disk/extent.h"

namespace specrep::disk {

// Which parts of a disk may differ from what the other host has on stable storage: a write-intent
// bitmap, one bit for each chunk, in a file. A bit is on stable storage before its chunk is
// written; it goes away lazily. So after a crash of either host the bits are a superset of what
// differs.
//
// The file has a header page and then pages of bits, each with a checksum: a page that a crash
// tore counts as all set. Thread-safe.
class IntentBitmap {
 public:
  static constexpr std::uint64_t kChunkBytes = 1 << 20;

  // Opens the file, or makes one for a disk of that size with all bits clear. Throws Error with
  // advice when it is of another disk, or not one of ours.
  IntentBitmap(const std::string& path, std::uint64_t disk_bytes);
  ~IntentBitmap();
  IntentBitmap(const IntentBitmap&) = delete;
  IntentBitmap& operator=(const IntentBitmap&) = delete;

  // Returns when the bits of these bytes are on stable storage. Several callers share one sync.
  void mark(const Extent& extent);
  // Not on stable storage at once.
  void mark_all();
  void clear(std::uint64_t chunk);
  // Puts all changes on stable storage.
  void sync();

  std::uint64_t chunks() const { return chunks_; }
  std::uint64_t marked() const;
  // The first marked chunk from `chunk` on; chunks() if there is none.
  std::uint64_t next_marked(std::uint64_t chunk) const;
  // Bytes of a chunk; the last one may be shorter.
  Extent extent_of(std::uint64_t chunk) const;

 private:
  struct Page {
    std::vector<std::uint64_t> words;
    std::uint64_t changed = 0;  // counts of changes_ at its newest change, …
    std::uint64_t synced = 0;   // … and at the newest that is on stable storage
  };

  void create();
  void load(std::uint64_t file_bytes);
  void sync_up_to(std::unique_lock<std::mutex>& lock, std::uint64_t change);
  void write_page(std::size_t index, const std::vector<std::uint64_t>& words);

  const std::string path_;
  const std::uint64_t disk_bytes_;
  const std::uint64_t chunks_;
  int file_ = -1;
  mutable std::mutex mutex_;
  std::condition_variable synced_;
  std::vector<Page> pages_;
  std::uint64_t changes_ = 0;
  std::uint64_t durable_ = 0;  // all changes up to this one are on stable storage
  bool syncing_ = false;
};

}  // namespace specrep::disk
