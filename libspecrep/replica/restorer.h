#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "libspecrep/replica/stage.h"
#include "libspecrep/wire/digests.h"
#include "libspecrep/wire/message.h"

namespace specrep::replica {

// What --verify found on the backup.
struct Comparison {
  std::uint64_t pages_compared = 0;
  std::uint64_t pages_different = 0;
  std::vector<Gfn> first_different;  // at most kFirstDifferentMax
};
inline constexpr std::size_t kFirstDifferentMax = 16;

// Where committed epochs go: the domain that waits on the backup. The calls take effect in
// order; begin() comes first. All may throw Error: then the copy is lost and must be discarded.
class Restorer {
 public:
  virtual ~Restorer() = default;

  // `prologue`: see guest::Guest::stream_prologue().
  virtual void begin(const wire::Start& start, std::vector<std::byte> prologue) = 0;

  // Pages of the first copy, encoded without a cache. Takes the message, so that it can be
  // decoded and loaded later. Blocks while too much is queued. Throws ProtocolError.
  virtual void load(wire::Message message, Gfn gfn_count) = 0;

  // An epoch that is committed. Blocks while too much is queued.
  virtual void apply(CommittedEpoch epoch) = 0;

  // Compares the waiting domain's memory, as of all calls before, with digests. Blocks until
  // it is done.
  virtual Comparison compare(const wire::DigestsView& digests) = 0;

  // Epochs given to apply() and not yet loaded.
  virtual std::uint64_t queued_epochs() const = 0;

  // Starts the guest from the newest epoch given to apply(). At least one must have been.
  virtual void activate() = 0;

  // Destroys the copy. Never throws: it is part of giving up.
  virtual void discard() noexcept = 0;
};

}  // namespace specrep::replica
