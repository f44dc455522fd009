#include "libspecrep/disk/journal.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "libspecrep/disk/record.h"
#include "libspecrep/error.h"

namespace specrep::disk {

namespace {

// A file that is larger is left for the other one as soon as that is not needed any more.
constexpr std::uint64_t kFileBytes = 64 << 20;
constexpr std::uint64_t kMagic = 0x314e524a'50455253;  // "SREPJRN1"
// A longer write is none of ours: primaries send 1 MiB at most.
constexpr std::uint64_t kDataBytesMax = 64 << 20;

struct Header {
  std::uint64_t magic, number, offset, length;
  std::uint64_t data_bytes;  // 0: zeroes
  std::uint64_t checksum;    // of what is before it, and the data
};

std::uint64_t checksum_of(const Header& header, const std::vector<std::byte>& data) {
  const auto seed = XXH3_64bits(&header, offsetof(Header, checksum));
  return XXH3_64bits_withSeed(data.data(), data.size(), seed);
}

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  throw Error(errno_text(what + " " + path),
              "without --disk-durable `xl remus-spec` needs no room for it");
}

std::array<std::string, 2> paths(const Places& places) {
  return {places.journal + ".0", places.journal + ".1"};
}

// False at the end, and where a write is not whole.
bool read_next(std::ifstream& file, Write& write) {
  Header header{};
  if (!file.read(reinterpret_cast<char*>(&header), sizeof header) || header.magic != kMagic ||
      header.data_bytes > kDataBytesMax)
    return false;
  write = {header.number, {header.offset, header.length}, {}};
  write.data.resize(header.data_bytes);
  return file.read(reinterpret_cast<char*>(write.data.data()),
                   static_cast<std::streamsize>(write.data.size())) &&
         checksum_of(header, write.data) == header.checksum;
}

// 0: none.
std::uint64_t first_number(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Write write;
  return read_next(file, write) ? write.number : 0;
}

}  // namespace

Journal::Journal(const Places& places) {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    File& file = files_[i];
    file.path = paths(places)[i];
    file.fd = open(file.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file.fd < 0) {
      const int error = errno;
      for (const File& opened : files_)
        if (opened.fd >= 0) close(opened.fd);
      errno = error;
      fail("opening", file.path);
    }
    start(file);
  }
}

Journal::~Journal() {
  for (const File& file : files_) close(file.fd);
}

void Journal::start(File& file) {
  if (ftruncate(file.fd, 0) || fdatasync(file.fd)) fail("emptying", file.path);
  file.bytes = file.newest = 0;
}

void Journal::append(const Write& write) {
  const File& other = files_[1 - current_];
  if (files_[current_].bytes > kFileBytes && other.newest <= forgotten_) {
    // A file never has what follows on something that is not on stable storage.
    sync();
    current_ = 1 - current_;
    start(files_[current_]);
  }
  File& file = files_[current_];
  Header header{kMagic, write.number, write.extent.offset, write.extent.length, write.data.size(),
                0};
  header.checksum = checksum_of(header, write.data);
  const iovec parts[] = {{&header, sizeof header},
                         {const_cast<std::byte*>(write.data.data()), write.data.size()}};
  const auto bytes = static_cast<ssize_t>(sizeof header + write.data.size());
  const ssize_t put = writev(file.fd, parts, 2);
  if (put >= 0 && put < bytes) errno = ENOSPC;
  if (put != bytes) fail("writing", file.path);
  file.bytes += static_cast<std::uint64_t>(bytes);
  file.newest = write.number;
  synced_ = false;
}

void Journal::sync() {
  if (synced_) return;
  if (fdatasync(files_[current_].fd)) fail("syncing", files_[current_].path);
  synced_ = true;
}

void Journal::forget(std::uint64_t number) { forgotten_ = number; }

std::uint64_t Journal::replay(const Places& places, Backing& backing) {
  auto in_order = paths(places);
  if (first_number(in_order[1]) < first_number(in_order[0])) std::swap(in_order[0], in_order[1]);
  std::uint64_t count = 0, last = 0;
  for (const std::string& path : in_order) {
    std::ifstream file(path, std::ios::binary);
    for (Write write; read_next(file, write); ++count) {
      if (last != 0 && write.number != last + 1) break;
      last = write.number;
      if (write.data.empty())
        backing.zero(write.extent);
      else
        backing.write(write.extent.offset, write.data);
    }
  }
  backing.sync();
  remove(places);
  return count;
}

bool Journal::exists(const Places& places) { return std::filesystem::exists(paths(places)[0]); }

void Journal::remove(const Places& places) {
  for (const std::string& path : paths(places)) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
}

}  // namespace specrep::disk
