#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "libspecrep/disk/backing.h"

namespace specrep::disk {

// A change of a disk, as the primary numbers them: 1, 2, 3, … in the order in which they take
// effect.
struct Write {
  std::uint64_t number = 0;
  Extent extent;
  std::vector<std::byte> data;  // empty: zeroes
};

// What one takes of memory while it waits; zeroes, too, or there could be any number of them.
inline std::size_t memory_bytes(const Write& write) { return sizeof write + write.data.size(); }

// The backup's copy of a disk. Writes are kept aside in memory until the epoch in which the guest
// made them is committed; then they are applied, in order, by a thread of its own. So at an
// activation the disk is as it was at that commit, or can be made so.
//
// Before the first epoch nothing can be activated, and writes are applied as they come.
//
// All functions but durable() are called from one thread. After a failure of the backing all throw
// Error with what it was.
class Target {
 public:
  // staging_bytes_max: of memory for writes whose epoch is not committed, and again for those that
  // wait to be applied. `progress` is called from the applying thread when durable() has grown, or
  // it has failed. backing must outlive this.
  Target(Backing& backing, std::size_t staging_bytes_max, std::function<void()> progress);
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  // Waits while too much of what is committed is still to be applied. Throws Error when the write
  // is not the next, not within the disk, or too much is not committed.
  void receive(Write write);

  // The newest write that this side holds: it survives the primary.
  std::uint64_t held() const { return held_; }

  // What comes from now on is of an epoch that is not committed, and kept aside.
  void keep_aside() { keeps_aside_ = true; }

  // All up to this number are of committed epochs. Calls keep_aside(). Throws Error when it is not
  // held.
  void commit(std::uint64_t number);

  // Up to which number all is on this host's stable storage; thread-safe.
  std::uint64_t durable() const;

  // Drops what is not committed, and returns when all else is on stable storage. For good. Returns
  // how many writes were dropped.
  std::uint64_t activate();

  // Applies all that was received: the guest lives on, and its disk has these writes. Returns when
  // that is on stable storage; receive() may follow.
  void settle();

  // Of memory, for all that waits.
  std::size_t staged_bytes() const;

 private:
  void apply();
  void check() const;
  void wait_until_applied();
  void push(Write write);
  void unstage();  // the oldest

  Backing& backing_;
  const std::size_t staging_bytes_max_;
  const std::function<void()> progress_;

  std::uint64_t held_ = 0;
  bool keeps_aside_ = false;
  std::deque<Write> stage_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Write> queue_;  // committed, to be applied
  std::size_t staged_bytes_ = 0, queued_bytes_ = 0;
  std::uint64_t queued_ = 0, applied_ = 0, durable_ = 0;  // numbers
  std::uint64_t applied_bytes_ = 0;                       // since the last sync
  std::exception_ptr failure_;
  bool over_ = false;
  std::thread applier_;
};

}  // namespace specrep::disk
