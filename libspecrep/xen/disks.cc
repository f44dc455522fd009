#include "libspecrep/xen/disks.h"

namespace specrep::xen {

bool is_replicated(const libxl_device_disk& disk) {
  if (!disk.script || !disk.pdev_path) return false;
  const std::string script = disk.script;
  return script.substr(script.rfind('/') + 1) == kBlockScript;
}

std::vector<std::string> replicated_disks(const DomainConfig& config) {
  std::vector<std::string> paths;
  for (int i = 0; i < config->num_disks; ++i) {
    const libxl_device_disk& disk = config->disks[i];
    if (is_replicated(disk) && disk.readwrite && !disk.is_cdrom) paths.emplace_back(disk.pdev_path);
  }
  return paths;
}

}  // namespace specrep::xen
