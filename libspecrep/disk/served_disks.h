#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/disk/control_client.h"
#include "libspecrep/disk/epoch_disks.h"

namespace specrep::disk {

// Disks that servers of this host serve, asked over their control sockets. Not thread-safe.
class ServedDisks final : public EpochDisks {
 public:
  // Where the backup waits for one disk.
  struct Peer {
    std::string path;
    wire::DiskAttach attach;
  };
  // Connects to each server, and lets it connect to the backup. When this goes, the servers let go
  // of the backup. staging_bytes_max: what the backup keeps aside for one disk. Throws Error.
  ServedDisks(const std::vector<Peer>& peers, std::uint64_t staging_bytes_max);

  std::uint64_t missing_bytes() override;
  std::vector<std::uint64_t> end_epoch(Epoch epoch) override;
  void release(Epoch epoch) override;
  double fill() override;
  void finish() noexcept override;

 private:
  struct Disk {
    std::string path;
    std::unique_ptr<ControlClient> client;
    std::uint64_t committed_bytes = 0;  // of sent_bytes, those of committed epochs
  };
  struct Ended {
    Epoch epoch;
    std::vector<std::uint64_t> sent_bytes;
  };
  wire::DiskState ask(Disk& disk, bool begin_epochs = false);

  const std::uint64_t staging_bytes_max_;
  std::vector<Disk> disks_;
  bool began_ = false;       // the epochs
  std::deque<Ended> ended_;  // and not committed
};

}  // namespace specrep::disk
