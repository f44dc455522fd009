#pragma once

#include <string>
#include <vector>

#include "libspecrep/xen/domain_config.h"

namespace specrep::xen {

// The hotplug script that puts a server of ours behind a disk.
inline constexpr char kBlockScript[] = "block-specrep";

// Whether a disk of the guest's configuration has it.
bool is_replicated(const libxl_device_disk& disk);

// The paths of the disks that are to be replicated, as both hosts name them, in the order of the
// configuration: those that the guest can write to.
std::vector<std::string> replicated_disks(const DomainConfig& config);

}  // namespace specrep::xen
