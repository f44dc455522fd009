#pragma once

#include <cstdint>

#include "libspecrep/guest/page.h"

namespace specrep::output {

// Holds back what a guest sends until the backup has the epoch in which it was sent (output
// commit). The primary engine tells it of epochs and commits, in order:
//   end_epoch(1), end_epoch(2), release(1), end_epoch(3), release(2), ...
// with at most PrimaryEngine::kEpochsInFlightMax epochs ended and not released. Output from
// before end_epoch(1) is not held: until the first commit nothing can be activated.
//
// Both throw Error when output would otherwise leave too early or be held for ever.
class OutputBuffer {
 public:
  virtual ~OutputBuffer() = default;

  // Called while the guest stands still: all that it has sent belongs to `epoch` or, where it is
  // still on its way through dom0, to the one after it; nothing that it sends from now on to
  // `epoch`.
  virtual void end_epoch(Epoch epoch) = 0;

  // The backup has `epoch`, the oldest one that is held.
  virtual void release(Epoch epoch) = 0;

  // How full the fullest part of the buffer is: 0 empty, 1 dropping. Cheap enough to be asked
  // some hundred times a second.
  virtual double fill() = 0;
};

// For -n, and for guests without a network.
class NoBuffer final : public OutputBuffer {
 public:
  void end_epoch(Epoch) override {}
  void release(Epoch) override {}
  double fill() override { return 0; }
};

}  // namespace specrep::output
