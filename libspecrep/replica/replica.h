#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "libspecrep/clock.h"
#include "libspecrep/replica/disk_copies.h"
#include "libspecrep/replica/restorer.h"
#include "libspecrep/replica/stage.h"
#include "libspecrep/wire/link.h"
#include "libspecrep/wire/page_codec.h"

namespace specrep::replica {

struct ReplicaOptions {
  // The guest that was agreed upon before; a Start of another is refused.
  std::string guest_name{};
  std::string guest_uuid{};  // 16 bytes
  // The primary counts as dead when nothing, heartbeats included, came from it for this long.
  Duration heartbeat_timeout = std::chrono::milliseconds(1000);
  // Memory for pages that are not committed; an epoch that needs more ends protection.
  std::size_t staging_bytes_max = 1024 * 1024 * 1024;
  // Memory for pages as they were last sent; a primary that wants more is refused.
  std::size_t delta_cache_bytes_max = 1024 * 1024 * 1024;
};

// The backup's half of protection: stages the pages of the epoch that the primary is in,
// commits it when its Checkpoint message has come and all its disk writes are here, and decides,
// when the primary falls silent, whether to activate.
//
//   kCopying     first copy: pages go to the restorer at once, nothing can be activated
//   kProtecting  at least one epoch is committed
//   kLost        the link closed; the primary's guardian may still say that the guest lives
//   kActivate    decided: the caller calls Restorer::activate()
//   kDiscard     decided: the caller calls Restorer::discard()
//
// Silence for heartbeat_timeout means a dead host and activates at once. A link that was closed
// means that a kernel over there is alive and only the process is gone: then the guardian is
// given until heartbeat_timeout has passed since the link was last heard to say "stand down".
//
// A primary that hands its guest over waits until it is told what the caller made of the decision
// to activate. It can be discarded all the same until then.
//
// Pages of an epoch that has no Checkpoint are never handed to the restorer.
class Replica {
 public:
  enum class State { kWaiting, kCopying, kProtecting, kLost, kActivate, kDiscard };

  // All must outlive the replica.
  Replica(wire::Link& link, Restorer& restorer, DiskCopies& disks, const Clock& clock,
          ReplicaOptions options);

  // Does what is due, also when disk writes have come; returns when it wants to be called again at
  // the latest. step() and handle() throw Error or ProtocolError when the copy cannot be kept; the
  // primary has then been told by a Failure message, and discard() is owed.
  TimePoint step();
  void handle(wire::Link::Event event);

  // The guest lives on at the primary. After a decision to activate it comes too late.
  void stand_down(const std::string& reason);

  State state() const { return state_; }
  bool decided() const { return state_ == State::kActivate || state_ == State::kDiscard; }
  // The primary lives, and its guest stands still there.
  bool handed_over() const { return handed_over_; }
  // Why it was decided so, or why the link counts as lost; for the operator.
  const std::string& reason() const { return reason_; }
  Epoch committed() const { return committed_; }
  std::uint64_t committed_pages() const { return committed_pages_; }  // of the last epoch
  std::size_t staged_pages() const { return stage_.pages(); }
  const std::optional<wire::Start>& guest() const { return start_; }
  // When the primary's loss was noticed, or the guest was handed over.
  TimePoint detected() const { return detected_; }

 private:
  void dispatch(wire::Message message);
  void start(wire::Message message);
  void pages(wire::Message message);
  void checkpoint(wire::Message message);
  void check_staging() const;
  void commit_what_is_here();
  void digests(const wire::Message& message);
  void hand_over(Epoch epoch);
  void lose(const std::string& reason, bool closed);
  void decide(State state, const std::string& reason);

  wire::Link& link_;
  Restorer& restorer_;
  DiskCopies& disks_;
  const Clock& clock_;
  const ReplicaOptions options_;

  State state_ = State::kWaiting;
  std::string reason_;
  bool handed_over_ = false;
  std::optional<wire::Start> start_;
  std::optional<wire::PageDecoder> decoder_;  // of the pages of all epochs but the first copy
  Stage stage_;
  std::uint64_t versions_received_ = 0;  // page versions since the last Checkpoint
  // Epochs of which all has come by this link, and may not have by the disks'. Oldest first.
  struct Pending {
    CommittedEpoch epoch;
    std::vector<std::uint64_t> disk_marks;
    std::vector<wire::Message> digests;
    std::size_t digests_bytes = 0;  // of memory
  };
  std::deque<Pending> pending_;
  Epoch received_ = 0;  // the newest that has ended
  Epoch committed_ = 0;
  std::uint64_t committed_pages_ = 0;
  Comparison comparison_;  // of the digests that have come so far
  TimePoint lost_deadline_;
  TimePoint detected_;
};

const char* to_string(Replica::State state);

}  // namespace specrep::replica
