#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "libspecrep/disk/backing.h"
#include "libspecrep/disk/intent_bitmap.h"
#include "libspecrep/disk/range_lock.h"
#include "libspecrep/disk/target.h"

namespace specrep::disk {

// What one message carries at most, so that heartbeats get through.
inline constexpr std::size_t kWriteBytesMax = 256 << 10;

// Where a disk's writes go: the other host.
class Sink {
 public:
  virtual ~Sink() = default;
  // In order, one call at a time, at most kWriteBytesMax of data each. May wait while the way there
  // is full. After the other side is lost it does nothing.
  virtual void send(Write write) = 0;
  // See Source. In order with send().
  virtual void begin_epochs() {}
};

// The primary's copy of a disk: serves the guest, and numbers what changes so that the other copy
// follows. Reads are local. A write is answered when this copy has it; a flush when it is on stable
// storage here and held by the other side. All functions may be called from several threads, and
// throw Error when this copy fails.
class Source {
 public:
  // Both must outlive this.
  Source(Backing& backing, IntentBitmap& bitmap);
  ~Source();
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  const std::string& path() const { return backing_.path(); }

  // What the guest asks for.
  void read(std::uint64_t offset, std::span<std::byte> out) { backing_.read(offset, out); }
  void write(std::uint64_t offset, std::span<const std::byte> data, bool force_unit_access);
  void zero(const Extent& extent, bool force_unit_access);
  void flush();

  // The other side does not have these bytes: they are to be sent at the next attach(). Returns
  // when that is on stable storage.
  void miss(const Extent& extent) { bitmap_.mark(extent); }

  // From now on writes go to `sink`, numbered from 1, and what the bitmap has marked is sent as
  // well, at most bytes_per_s of that; 0: no limit. sink must outlive detach().
  void attach(Sink& sink, std::uint64_t bytes_per_s = 0);
  // The other side is lost, or not wanted any more: nobody waits for it. What it may not have stays
  // marked. Not an error when there is none.
  void detach();

  // What the other side says. Late words of one that was detached are not passed on by its owner.
  void held(std::uint64_t number);
  void durable(std::uint64_t number);

  // The newest write that has been numbered. Asked while the guest stands still, it ends an epoch:
  // all that was answered before has a lower number or this one. What is under way then may be on
  // either side: a guest that goes on elsewhere asks for it again.
  std::uint64_t mark() const;
  // Instead of mark() at the end of the first epoch: the other side keeps aside what comes after
  // it.
  std::uint64_t begin_epochs();
  // Up to which write the other side has all.
  std::uint64_t held_number() const;

  // Chunks that are still to be sent; 0 when both copies are the same but for what is on its way.
  std::uint64_t chunks_to_send() const;
  // Chunks that the other side may not have on stable storage.
  std::uint64_t marked_chunks() const { return bitmap_.marked(); }
  // Whether the other side has been sent all that it missed.
  bool in_sync() const;
  // What the other side needs of memory for all that was sent since attach(): see memory_bytes().
  std::uint64_t sent_bytes() const;
  // Takes the marks off chunks that the other side has on stable storage. Now and then, not for
  // each write: a chunk that is written all the time would be marked and cleared without end.
  // After detach(), too.
  void forget_durable();
  // Up to which write it has done so; 0 after attach().
  std::uint64_t forgotten_number() const;

 private:
  void change(Write write, bool force_unit_access);
  std::uint64_t send(Write write);
  void remember(const Extent& extent, std::uint64_t number);
  void wait_until_held(std::uint64_t number);
  void resync(std::uint64_t bytes_per_s);

  Backing& backing_;
  IntentBitmap& bitmap_;
  RangeLock ranges_;

  std::mutex order_;  // of numbers and of what is sent
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Sink* sink_ = nullptr;
  std::uint64_t attached_ = 0;  // counts
  std::uint64_t last_ = 0, held_ = 0, durable_ = 0, forgotten_ = 0;
  // Write to each chunk whose mark can go once it is durable. Of others it is not known.
  std::map<std::uint64_t, std::uint64_t> newest_;
  std::uint64_t to_send_ = 0, sent_bytes_ = 0;
  bool resyncing_ = false;
  std::exception_ptr failure_;  // of the resync
  std::thread resync_;
};

}  // namespace specrep::disk
