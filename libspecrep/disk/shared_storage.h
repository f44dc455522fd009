#pragma once

#include <filesystem>
#include <string>

namespace specrep::disk {

// Two hosts can name one and the same storage by one path; specrep would write what is not yet
// committed into the only copy. While a StorageMark exists, check_not_shared() recognizes its
// storage from another host: a file, by a file beside it; a block device, by the worldwide name
// that sysfs has of it, or of what it is made of.
class StorageMark {
 public:
  // The file is left out where it cannot be made.
  explicit StorageMark(const std::string& path);
  ~StorageMark();
  StorageMark(const StorageMark&) = delete;
  StorageMark& operator=(const StorageMark&) = delete;

  // For check_not_shared(); empty: not known. At most kMarkBytesMax.
  const std::string& text() const { return text_; }

 private:
  std::filesystem::path beside_;
  std::string text_;
};

constexpr std::size_t kMarkBytesMax = 4096;

// `mark`: the other host's text(), trusted to be nothing. Throws Error when this host's `path` is
// the storage that it was made of.
void check_not_shared(const std::string& path, const std::string& mark);

// The worldwide name of a block device, by /sys/dev/block/MAJOR:MINOR, in which one name stands for
// one device everywhere; empty when there is none for some part of it. A device of the device
// mapper is named by its uuid and by what it lies on, since hosts that were cloned have equal uuids
// on different disks; a partition by its disk and its first sector.
std::string worldwide_name(const std::filesystem::path& sysfs_device);

}  // namespace specrep::disk
