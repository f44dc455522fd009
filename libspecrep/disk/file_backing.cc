#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "libspecrep/disk/backing.h"
#include "libspecrep/error.h"

namespace specrep::disk {

namespace {

constexpr std::size_t kZeroBytes = 1 << 20;
// udev holds the same lock while it looks at a device, as it does whenever somebody has closed it.
constexpr std::chrono::milliseconds kLockTimeout{5000}, kLockPoll{10};

class FileBacking final : public Backing {
 public:
  explicit FileBacking(const std::string& path) : path_(path) {
    file_ = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (file_ < 0) fail("opening");
    try {
      lock();
      struct stat info {};
      if (fstat(file_, &info)) fail("looking at");
      size_bytes_ = static_cast<std::uint64_t>(info.st_size);
      if (S_ISBLK(info.st_mode)) {
        if (ioctl(file_, BLKGETSIZE64, &size_bytes_)) fail("asking for the size of");
      } else if (!S_ISREG(info.st_mode)) {
        throw Error(path + " is neither a file nor a block device");
      }
    } catch (...) {
      close(file_);
      throw;
    }
  }
  ~FileBacking() override { close(file_); }
  FileBacking(const FileBacking&) = delete;
  FileBacking& operator=(const FileBacking&) = delete;

  const std::string& path() const override { return path_; }
  std::uint64_t size_bytes() const override { return size_bytes_; }

  void read(std::uint64_t offset, std::span<std::byte> out) override {
    check({offset, out.size()});
    while (!out.empty()) {
      const ssize_t got = pread(file_, out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail("reading");
      if (got == 0) throw Error(path_ + " has become shorter than it was");
      out = out.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
  }

  void write(std::uint64_t offset, std::span<const std::byte> data) override {
    check({offset, data.size()});
    while (!data.empty()) {
      const ssize_t put = pwrite(file_, data.data(), data.size(), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) fail("writing to");
      data = data.subspan(static_cast<std::size_t>(put));
      offset += static_cast<std::uint64_t>(put);
    }
  }

  void zero(const Extent& extent) override {
    check(extent);
    if (extent.length == 0) return;
    int rc = 0;
    do {
      rc = fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(extent.offset), static_cast<off_t>(extent.length));
    } while (rc != 0 && errno == EINTR);
    if (rc == 0) return;
    // Not every file system and device can, nor at every offset; written zeroes read the same.
    if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS) fail("zeroing a part of");
    static const std::vector<std::byte> zeroes(kZeroBytes);
    for (std::uint64_t at = extent.offset; at < extent.end(); at += kZeroBytes)
      write(at, std::span(zeroes).first(std::min<std::uint64_t>(kZeroBytes, extent.end() - at)));
  }

  void sync() override {
    if (fdatasync(file_)) fail("syncing");
  }

 private:
  void lock() {
    const auto deadline = std::chrono::steady_clock::now() + kLockTimeout;
    while (flock(file_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) fail("locking");
      if (std::chrono::steady_clock::now() > deadline)
        throw Error(
            path_ + " is in use by another process",
            "a disk can be served, or kept as a copy, once on a host, and not at all on storage "
            "that both hosts share; fuser -v " +
                path_ + " tells by whom");
      std::this_thread::sleep_for(kLockPoll);
    }
  }
  void check(const Extent& extent) const {
    if (extent.length > size_bytes_ || extent.offset > size_bytes_ - extent.length)
      throw Error(path_ + " ends before byte " + std::to_string(extent.offset) + " + " +
                  std::to_string(extent.length));
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(errno_text(what + " " + path_));
  }

  const std::string path_;
  int file_ = -1;
  std::uint64_t size_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Backing> open_backing(const std::string& path) {
  return std::make_unique<FileBacking>(path);
}

std::uint32_t sector_bytes(const std::string& path) {
  // For reading alone, so that udev does not look at the disk when it is closed.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw Error(errno_text("opening " + path));
  int bytes = 0;
  const bool is_device = ioctl(file, BLKSSZGET, &bytes) == 0 && bytes > 0;
  close(file);
  return is_device ? static_cast<std::uint32_t>(bytes) : 512;
}

}  // namespace specrep::disk
