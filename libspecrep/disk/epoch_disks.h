#pragma once

#include <cstdint>
#include <vector>

#include "libspecrep/guest/page.h"

namespace specrep::disk {

// The disks of a protected guest, as the primary engine sees them. Their writes go to the backup by
// links of their own and wait there until the epoch in which the guest made them is committed. All
// throw Error when the backup does not follow a disk any more: protection has to end then.
class EpochDisks {
 public:
  virtual ~EpochDisks() = default;

  // What the backup's copies still lack; 0 when they lack nothing but what is on its way. The first
  // epoch may end only then.
  virtual std::uint64_t missing_bytes() = 0;

  // Called while the guest stands still: for each disk its newest write, in the order that both
  // hosts agreed on. All that was answered to the guest belongs to this epoch or an earlier one.
  virtual std::vector<std::uint64_t> end_epoch(Epoch epoch) = 0;

  // The backup has `epoch`.
  virtual void release(Epoch epoch) = 0;

  // How full the backup's memory for writes of unfinished epochs is at most: 0 empty, 1 protection
  // ends. Cheap enough to be asked some hundred times a second.
  virtual double fill() = 0;

  // Protection ends in order: returns when the backup has all writes that were answered, or does
  // not take them. Never throws.
  virtual void finish() noexcept = 0;
};

// For -d, and for guests without disks of their own.
class NoDisks final : public EpochDisks {
 public:
  std::uint64_t missing_bytes() override { return 0; }
  std::vector<std::uint64_t> end_epoch(Epoch) override { return {}; }
  void release(Epoch) override {}
  double fill() override { return 0; }
  void finish() noexcept override {}
};

}  // namespace specrep::disk
