#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace specrep::fuzz {

// A small disk in memory, and the folder for what is known of it. One for each process.
class DiskCopy {
 public:
  static constexpr std::uint64_t kBytes = 3 << 20;

  static const DiskCopy& get() {
    static const DiskCopy copy;
    return copy;
  }
  // As if nothing had ever been known of the disk.
  void forget() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.path() != disk) std::filesystem::remove_all(entry.path());
  }

  std::filesystem::path folder, disk;

 private:
  DiskCopy() {
    std::string made = "/dev/shm/specrep-fuzz-XXXXXX";
    folder = mkdtemp(made.data());
    disk = folder / "disk";
    std::ofstream(disk) << "";
    std::filesystem::resize_file(disk, kBytes);
    const std::string with_slash = folder.string() + "/";
    setenv("SPECREP_DISK_STATE", with_slash.c_str(), 1);
    setenv("SPECREP_DISK_RUN", with_slash.c_str(), 1);
  }
  ~DiskCopy() { std::filesystem::remove_all(folder); }
};

}  // namespace specrep::fuzz
