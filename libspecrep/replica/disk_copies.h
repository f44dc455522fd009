#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace specrep::replica {

// This host's copies of a guest's disks, as the replica sees them. A mark names the newest write of
// a disk that belongs to an epoch. Marks are in the order that both hosts agreed on.
class DiskCopies {
 public:
  virtual ~DiskCopies() = default;
  virtual std::size_t count() const = 0;
  // Whether all writes up to the marks are here. Throws Error when a copy cannot be kept.
  virtual bool hold(const std::vector<std::uint64_t>& marks) const = 0;
  // Their epoch is committed. hold() was true. Throws Error.
  virtual void commit(const std::vector<std::uint64_t>& marks) = 0;
};

class NoDiskCopies final : public DiskCopies {
 public:
  std::size_t count() const override { return 0; }
  bool hold(const std::vector<std::uint64_t>&) const override { return true; }
  void commit(const std::vector<std::uint64_t>&) override {}
};

}  // namespace specrep::replica
