#pragma once

#include <cstdint>

namespace specrep::disk {

// Bytes of a disk.
struct Extent {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  std::uint64_t end() const { return offset + length; }
  bool overlaps(const Extent& other) const { return offset < other.end() && other.offset < end(); }
  bool operator==(const Extent&) const = default;
};

}  // namespace specrep::disk
