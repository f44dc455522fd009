#pragma once

#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

namespace specrep {

// A folder of a test's own, which ends with it.
struct Folder {
  Folder() {
    const std::string name = std::filesystem::temp_directory_path() / "specrep-test-XXXXXX";
    std::string made = name;
    if (!mkdtemp(made.data()))
      throw std::filesystem::filesystem_error("mkdtemp", name, last_error());
    path = made;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }

  std::filesystem::path operator/(const std::filesystem::path& name) const { return path / name; }

  std::filesystem::path path;

 private:
  static std::error_code last_error() { return {errno, std::generic_category()}; }
};

}  // namespace specrep
