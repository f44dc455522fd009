#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "libspecrep/disk/epoch_disks.h"
#include "libspecrep/disk/intent_bitmap.h"
#include "libspecrep/disk/record.h"
#include "libspecrep/disk/source.h"
#include "libspecrep/disk/target.h"
#include "libspecrep/replica/disk_copies.h"
#include "network.h"

namespace specrep::sim {

// Source and Target have threads of their own. What they do between two calls depends on nothing
// but the calls, so the simulation waits until they have done it, and stays deterministic.

// One host's copy of the guest's disk, with what specrep notes of it, and the server of the guest
// that runs here. Writes that were not synced are lost, or not, when the host loses its power.
class Storage {
 public:
  static constexpr std::size_t kDiskBytes = (2 << 20) + (64 << 10);

  Storage(std::string bitmap_path, Random& random);
  ~Storage();

  struct Server;
  Server* server() { return server_.get(); }
  // Throws Error when this copy is not the host's own.
  void start_server();
  void stop_server();  // however it comes about

  void lose_power();
  std::vector<std::byte> content() const;

  // As of the backing: may be called from the threads of Source and Target.
  void read(std::uint64_t offset, std::span<std::byte> out) const;
  void write(std::uint64_t offset, std::span<const std::byte> data);
  void sync();
  // Every access fails from now on; one has.
  std::atomic<bool> failing = false, failed = false;

  std::optional<disk::Record> record;  // nothing: never replicated
  const std::string bitmap_path;

 private:
  static constexpr std::size_t kBlock = 4096;

  void fail_if_failing();

  Random& random_;
  mutable std::mutex mutex_;
  std::vector<std::byte> current_, durable_;
  std::set<std::size_t> not_synced_;  // blocks
  std::unique_ptr<Server> server_;
};

class StorageBacking final : public disk::Backing {
 public:
  explicit StorageBacking(Storage& storage) : storage_(storage) {}
  const std::string& path() const override { return path_; }
  std::uint64_t size_bytes() const override { return Storage::kDiskBytes; }
  void read(std::uint64_t offset, std::span<std::byte> out) override { storage_.read(offset, out); }
  void write(std::uint64_t offset, std::span<const std::byte> data) override {
    storage_.write(offset, data);
  }
  void zero(const disk::Extent& extent) override {
    storage_.write(extent.offset, std::vector<std::byte>(extent.length));
  }
  void sync() override { storage_.sync(); }

 private:
  Storage& storage_;
  const std::string path_ = "/dev/vg0/web1";
};

// The primary's end of the link of the disk: as disk::SourceEnd, without its thread and its files.
class DiskSource final : public disk::Sink {
 public:
  DiskSource(Storage& storage, std::shared_ptr<Connection> connection);
  ~DiskSource() override;
  void send(disk::Write write) override;
  void begin_epochs() override;

  bool attached() const { return attached_; }
  // Not empty: nothing more is followed.
  const std::string& lost() const { return lost_; }
  void rush() { connection_->rush(); }

 private:
  void serve();
  void dispatch(const wire::Message& message);

  Storage& storage_;
  const std::shared_ptr<Connection> connection_;
  bool attached_ = false;
  std::string lost_;
};

struct Storage::Server {
  explicit Server(Storage& storage)
      : backing(storage), bitmap(storage.bitmap_path, kDiskBytes), source(backing, bitmap) {}
  StorageBacking backing;
  disk::IntentBitmap bitmap;
  disk::Source source;
  std::unique_ptr<DiskSource> mirror;
};

// The guest's disk as the primary engine sees it: as disk::ServedDisks.
class ProtectedDisk final : public disk::EpochDisks {
 public:
  ProtectedDisk(Storage& storage, std::uint64_t staging_bytes_max)
      : storage_(storage), staging_bytes_max_(staging_bytes_max) {}
  std::uint64_t missing_bytes() override;
  std::vector<std::uint64_t> end_epoch(Epoch epoch) override;
  void release(Epoch epoch) override;
  double fill() override;
  void finish() noexcept override;

 private:
  Storage::Server& server();

  Storage& storage_;
  const std::uint64_t staging_bytes_max_;
  bool began_ = false;
  std::deque<std::pair<Epoch, std::uint64_t>> ended_;
  std::uint64_t committed_bytes_ = 0;
};

// The backup's end, and its copy: as disk::TargetEnd and disk::LinkCopies.
class DiskCopy final : public replica::DiskCopies {
 public:
  // `changed`: more may be held.
  DiskCopy(Storage& storage, std::shared_ptr<Connection> connection, std::size_t staging_bytes_max,
           std::function<void()> changed);
  ~DiskCopy() override;

  std::size_t count() const override { return 1; }
  bool hold(const std::vector<std::uint64_t>& marks) const override;
  void commit(const std::vector<std::uint64_t>& marks) override;
  void activate();
  void settle();
  void set_paused(bool paused);

 private:
  void serve();
  void dispatch(wire::Message message);
  void greet(const wire::Message& message);
  // Waits until the target has applied all that it may.
  void wait_until_applied(std::uint64_t number);
  void report();
  void complete();

  Storage& storage_;
  const std::shared_ptr<Connection> connection_;
  const std::function<void()> changed_;
  StorageBacking backing_;
  std::optional<disk::Target> target_;
  std::optional<disk::Record> record_;
  std::optional<disk::Record> primary_;
  std::optional<std::uint64_t> complete_at_;
  bool aside_ = false;
  std::uint64_t told_held_ = 0, told_durable_ = 0;
  std::string failure_, lost_;
  std::atomic<bool> target_failed_ = false;
};

}  // namespace specrep::sim
