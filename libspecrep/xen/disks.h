#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libspecrep/xen/domain_config.h"
#include "libspecrep/xen/handles.h"

namespace specrep::xen {

// The hotplug script that puts a server of ours behind a disk.
inline constexpr char kBlockScript[] = "block-specrep";

// Whether a disk of the guest's configuration has it.
bool is_replicated(const libxl_device_disk& disk);

// The paths of the disks that are to be replicated, as both hosts name them, in the order of the
// configuration: those that the guest can write to.
std::vector<std::string> replicated_disks(const DomainConfig& config);

// Finds disks that a domain gets while it is protected: its copy has no such disk.
class AttachedDisks {
 public:
  explicit AttachedDisks(std::uint32_t domid);
  // Those that have appeared since the last call, as the guest names them: "xvdb".
  std::vector<std::string> look();

 private:
  const std::string folder_;
  Xenstore store_;
  std::vector<std::string> known_;  // as libxl numbers them
};

}  // namespace specrep::xen
