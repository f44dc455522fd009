#include "libspecrep/disk/shared_storage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

#include "libspecrep/disk/record.h"
#include "libspecrep/error.h"
#include "libspecrep/hex.h"

namespace specrep::disk {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFile = "file ", kDevice = "device ";
constexpr std::size_t kRandomDigits = 32;

std::string first_line(const fs::path& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) line.pop_back();
  return line;
}

fs::path sysfs_device(dev_t device) {
  return "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
}

// What is behind symbolic links and loop devices.
fs::path storage_of(const std::string& path) {
  std::error_code ignored;
  fs::path storage = fs::weakly_canonical(path, ignored);
  struct stat about {};
  if (stat(storage.c_str(), &about) || !S_ISBLK(about.st_mode)) return storage;
  const std::string file = first_line(sysfs_device(about.st_rdev) / "loop/backing_file");
  return file.empty() ? storage : fs::path(file);
}

// Nothing for what is not a block device.
std::string device_name(const fs::path& storage) {
  struct stat about {};
  if (stat(storage.c_str(), &about) || !S_ISBLK(about.st_mode)) return "";
  return worldwide_name(sysfs_device(about.st_rdev));
}

bool is_file(const fs::path& storage) {
  std::error_code ignored;
  return fs::is_regular_file(storage, ignored);
}

fs::path beside(const fs::path& storage, const std::string& digits) {
  return storage.parent_path() / ("." + storage.filename().string() + ".specrep-" + digits);
}

std::string random_digits() {
  std::string digits = to_hex(make_generation());
  digits.resize(kRandomDigits, '0');
  return digits;
}

}  // namespace

std::string worldwide_name(const fs::path& sysfs_device) {
  std::error_code error;
  const fs::path device = fs::canonical(sysfs_device, error);
  if (error) return "";
  if (fs::exists(device / "partition", error)) {
    const std::string disk = worldwide_name(device.parent_path());
    return disk.empty() ? "" : disk + "+" + first_line(device / "start");
  }
  if (const std::string uuid = first_line(device / "dm/uuid"); !uuid.empty()) {
    std::vector<std::string> below;
    for (const auto& slave : fs::directory_iterator(device / "slaves", error)) {
      below.push_back(worldwide_name(slave.path()));
      if (below.back().empty()) return "";
    }
    if (below.empty()) return "";
    std::sort(below.begin(), below.end());
    // All paths to one device have its name.
    below.erase(std::unique(below.begin(), below.end()), below.end());
    std::string name = uuid;
    for (const std::string& part : below) name += "(" + part + ")";
    return name;
  }
  // Others, as t10., hold what a vendor or an emulator took for a serial number.
  constexpr std::array<std::string_view, 3> kUnique = {"naa.", "eui.", "uuid."};
  for (const char* file : {"device/wwid", "wwid"}) {
    const std::string name = first_line(device / file);
    for (const std::string_view prefix : kUnique)
      if (name.starts_with(prefix)) return name;
  }
  return "";
}

StorageMark::StorageMark(const std::string& path) {
  const fs::path storage = storage_of(path);
  if (is_file(storage)) {
    const std::string digits = random_digits();
    beside_ = beside(storage, digits);
    const int file = open(beside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) {
      beside_.clear();
      return;
    }
    close(file);
    text_ = std::string(kFile) += digits;
  } else if (const std::string name = device_name(storage); !name.empty()) {
    text_ = std::string(kDevice) += name;
  }
  if (text_.size() > kMarkBytesMax) text_.clear();
}

StorageMark::~StorageMark() {
  if (!beside_.empty()) unlink(beside_.c_str());
}

void check_not_shared(const std::string& path, const std::string& mark) {
  const fs::path storage = storage_of(path);
  bool shared = false;
  if (mark.starts_with(kFile)) {
    const std::string digits = mark.substr(kFile.size());
    // It becomes a part of a path.
    if (digits.size() != kRandomDigits ||
        digits.find_first_not_of("0123456789abcdef") != std::string::npos)
      throw Error("the mark of the primary's storage is not one");
    std::error_code ignored;
    shared = is_file(storage) && fs::exists(beside(storage, digits), ignored);
  } else if (mark.starts_with(kDevice)) {
    shared = mark.substr(kDevice.size()) == device_name(storage);
  }
  if (shared)
    throw Error(path + " is one and the same storage on both hosts",
                "specrep replicates a disk to storage of the other host's own; give that host "
                "another one under this path, or leave the disk out (-d)");
}

}  // namespace specrep::disk
