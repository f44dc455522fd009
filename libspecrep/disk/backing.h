#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "libspecrep/disk/extent.h"

namespace specrep::disk {

// One host's copy of a disk. All functions may be called from several threads, and throw Error.
class Backing {
 public:
  virtual ~Backing() = default;
  virtual const std::string& path() const = 0;
  virtual std::uint64_t size_bytes() const = 0;
  virtual void read(std::uint64_t offset, std::span<std::byte> out) = 0;
  virtual void write(std::uint64_t offset, std::span<const std::byte> data) = 0;
  // These bytes read as zeroes from then on; the space that they take may be given back.
  virtual void zero(const Extent& extent) = 0;
  // What was written and zeroed before is on stable storage when this returns.
  virtual void sync() = 0;
};

// A file, an LVM volume or another block device. It must exist; nobody else may write to it.
std::unique_ptr<Backing> open_backing(const std::string& path);

// The unit in which a guest must be shown such a disk: partition tables count in it. 512 for files.
std::uint32_t sector_bytes(const std::string& path);

}  // namespace specrep::disk
