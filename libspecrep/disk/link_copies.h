#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/disk/disk_link.h"
#include "libspecrep/replica/disk_copies.h"
#include "libspecrep/wire/tls_link.h"

namespace specrep::disk {

// This host's copies of a guest's disks, each with a link of its own on which it waits for the
// primary.
class LinkCopies final : public replica::DiskCopies {
 public:
  struct Disk {
    std::string path;
    wire::PreSharedKey key;
  };
  // Waits at a port for each disk. durable: see TargetEnd. `changed` is called from any thread when
  // hold() may have changed; it must not call this object. Throws Error.
  LinkCopies(const std::vector<Disk>& disks, std::size_t staging_bytes_max, bool durable,
             Duration heartbeat_interval, Duration connect_timeout,
             const std::function<void()>& changed);
  // Ends all links.
  ~LinkCopies() override;

  // In the order of `disks`.
  std::vector<std::uint16_t> ports() const;

  std::size_t count() const override { return copies_.size(); }
  bool hold(const std::vector<std::uint64_t>& marks) const override;
  void commit(const std::vector<std::uint64_t>& marks) override;

  // See Target. activate() returns how many writes were dropped.
  std::uint64_t activate();
  void settle();

 private:
  struct Copy;
  static TargetEnd& end_of(Copy& copy);

  std::vector<std::shared_ptr<Copy>> copies_;
};

}  // namespace specrep::disk
