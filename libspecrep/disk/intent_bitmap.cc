#include "libspecrep/disk/intent_bitmap.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>

#include "libspecrep/error.h"

namespace specrep::disk {

namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kWordsPerPage = kPageBytes / 8 - 1;  // and a checksum
constexpr std::size_t kBitsPerPage = kWordsPerPage * 64;
constexpr std::uint64_t kMagic = 0x31504d42'50455253;  // "SREPBMP1"
constexpr std::uint64_t kAllSet = ~std::uint64_t{0};

using FilePage = std::array<std::uint64_t, kWordsPerPage + 1>;
static_assert(sizeof(FilePage) == kPageBytes);

std::uint64_t checksum(const FilePage& page, std::size_t index) {
  return XXH3_64bits_withSeed(page.data(), kWordsPerPage * 8, index);
}

}  // namespace

IntentBitmap::IntentBitmap(const std::string& path, std::uint64_t disk_bytes)
    : path_(path),
      disk_bytes_(disk_bytes),
      chunks_((disk_bytes + kChunkBytes - 1) / kChunkBytes),
      pages_((chunks_ + kBitsPerPage - 1) / kBitsPerPage) {
  for (Page& page : pages_) page.words.resize(kWordsPerPage);
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file_ < 0) throw Error(errno_text("opening " + path));
  try {
    struct stat info {};
    if (fstat(file_, &info)) throw Error(errno_text("looking at " + path));
    if (info.st_size == 0)
      create();
    else
      load(static_cast<std::uint64_t>(info.st_size));
  } catch (...) {
    close(file_);
    throw;
  }
}

IntentBitmap::~IntentBitmap() { close(file_); }

void IntentBitmap::create() {
  for (std::size_t i = 0; i < pages_.size(); ++i) write_page(i, pages_[i].words);
  FilePage header{};
  header[0] = kMagic;
  header[1] = disk_bytes_;
  header[2] = kChunkBytes;
  header.back() = checksum(header, 0);
  // Last, so that a file that was not finished is none.
  if (fdatasync(file_) ||
      pwrite(file_, header.data(), kPageBytes, 0) != static_cast<ssize_t>(kPageBytes) ||
      fdatasync(file_))
    throw Error(errno_text("writing " + path_));
}

void IntentBitmap::load(std::uint64_t file_bytes) {
  FilePage page;
  if (pread(file_, page.data(), kPageBytes, 0) != static_cast<ssize_t>(kPageBytes) ||
      page[0] != kMagic || page.back() != checksum(page, 0))
    throw Error(
        path_ + " is not a bitmap of specrep's, or is damaged",
        "`specrep-disk create --force` where the disk's newest data is, `specrep-disk discard "
        "--force` where it is not; all of the disk is copied then");
  if (page[1] != disk_bytes_ || page[2] != kChunkBytes ||
      file_bytes != (pages_.size() + 1) * kPageBytes)
    throw Error(
        path_ + " is of a disk of " + std::to_string(page[1]) + " bytes, not of " +
            std::to_string(disk_bytes_),
        "was the disk resized? Then `specrep-disk create --force` where its newest data is, "
        "`specrep-disk discard --force` where it is not; all of it is copied then");
  for (std::size_t i = 0; i < pages_.size(); ++i) {
    const auto at = static_cast<off_t>((i + 1) * kPageBytes);
    const bool whole =
        pread(file_, page.data(), kPageBytes, at) == static_cast<ssize_t>(kPageBytes) &&
        page.back() == checksum(page, i + 1);
    for (std::size_t w = 0; w < kWordsPerPage; ++w) pages_[i].words[w] = whole ? page[w] : kAllSet;
  }
  // Bits behind the end of the disk are nobody's.
  for (std::uint64_t chunk = chunks_; chunk < pages_.size() * kBitsPerPage; ++chunk)
    pages_[chunk / kBitsPerPage].words[chunk % kBitsPerPage / 64] &=
        ~(std::uint64_t{1} << (chunk % 64));
}

void IntentBitmap::mark(const Extent& extent) {
  if (extent.length == 0) return;
  std::unique_lock lock(mutex_);
  std::uint64_t wanted = 0;
  const std::uint64_t last = std::min((extent.end() - 1) / kChunkBytes, chunks_ - 1);
  for (std::uint64_t chunk = extent.offset / kChunkBytes; chunk <= last; ++chunk) {
    Page& page = pages_[chunk / kBitsPerPage];
    std::uint64_t& word = page.words[chunk % kBitsPerPage / 64];
    const std::uint64_t bit = std::uint64_t{1} << (chunk % 64);
    if (!(word & bit)) {
      word |= bit;
      page.changed = ++changes_;
    }
    // Somebody else may have set it a moment ago.
    wanted = std::max(wanted, page.changed);
  }
  if (wanted > durable_) sync_up_to(lock, wanted);
}

void IntentBitmap::mark_all() {
  const std::lock_guard lock(mutex_);
  for (std::uint64_t chunk = 0; chunk < chunks_; ++chunk)
    pages_[chunk / kBitsPerPage].words[chunk % kBitsPerPage / 64] |= std::uint64_t{1}
                                                                     << (chunk % 64);
  for (Page& page : pages_) page.changed = ++changes_;
}

void IntentBitmap::clear(std::uint64_t chunk) {
  const std::lock_guard lock(mutex_);
  Page& page = pages_.at(chunk / kBitsPerPage);
  page.words[chunk % kBitsPerPage / 64] &= ~(std::uint64_t{1} << (chunk % 64));
  page.changed = ++changes_;
}

void IntentBitmap::sync() {
  std::unique_lock lock(mutex_);
  if (changes_ > durable_) sync_up_to(lock, changes_);
}

void IntentBitmap::sync_up_to(std::unique_lock<std::mutex>& lock, std::uint64_t change) {
  while (durable_ < change) {
    if (syncing_) {
      synced_.wait(lock);
      continue;
    }
    syncing_ = true;
    const std::uint64_t reached = changes_;
    std::vector<std::pair<std::size_t, std::vector<std::uint64_t>>> copies;
    for (std::size_t i = 0; i < pages_.size(); ++i) {
      if (pages_[i].changed <= pages_[i].synced) continue;
      copies.emplace_back(i, pages_[i].words);
    }
    lock.unlock();
    std::string trouble;
    try {
      for (const auto& [index, words] : copies) write_page(index, words);
      if (fdatasync(file_)) trouble = errno_text("syncing " + path_);
    } catch (const Error& error) {
      trouble = error.what();
    }
    lock.lock();
    syncing_ = false;
    synced_.notify_all();
    if (!trouble.empty()) throw Error(trouble);
    for (const auto& [index, words] : copies) pages_[index].synced = reached;
    durable_ = reached;
  }
}

void IntentBitmap::write_page(std::size_t index, const std::vector<std::uint64_t>& words) {
  FilePage page;
  std::copy(words.begin(), words.end(), page.begin());
  page.back() = checksum(page, index + 1);
  if (pwrite(file_, page.data(), kPageBytes, static_cast<off_t>((index + 1) * kPageBytes)) !=
      static_cast<ssize_t>(kPageBytes))
    throw Error(errno_text("writing " + path_));
}

std::uint64_t IntentBitmap::marked() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t count = 0;
  for (const Page& page : pages_)
    for (const std::uint64_t word : page.words) count += static_cast<unsigned>(std::popcount(word));
  return count;
}

std::uint64_t IntentBitmap::next_marked(std::uint64_t chunk) const {
  const std::lock_guard lock(mutex_);
  for (; chunk < chunks_; ++chunk) {
    const std::uint64_t word = pages_[chunk / kBitsPerPage].words[chunk % kBitsPerPage / 64];
    if (word == 0) {
      chunk |= 63;
      continue;
    }
    if (word >> (chunk % 64) & 1) return chunk;
  }
  return chunks_;
}

Extent IntentBitmap::extent_of(std::uint64_t chunk) const {
  const std::uint64_t offset = chunk * kChunkBytes;
  return {offset, std::min(kChunkBytes, disk_bytes_ - offset)};
}

}  // namespace specrep::disk
