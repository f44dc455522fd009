#include "libspecrep/xen/disks.h"

#include <algorithm>

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

AttachedDisks::AttachedDisks(std::uint32_t domid)
    : folder_("/libxl/" + std::to_string(domid) + "/device/vbd"),
      known_(store_.directory(folder_)) {}

std::vector<std::string> AttachedDisks::look() {
  std::vector<std::string> attached, now = store_.directory(folder_);
  for (const std::string& number : now) {
    if (std::find(known_.begin(), known_.end(), number) != known_.end()) continue;
    const auto backend = store_.read(folder_ + "/" + number + "/backend");
    attached.push_back(backend ? store_.read(*backend + "/dev").value_or(number) : number);
  }
  known_ = std::move(now);
  return attached;
}

}  // namespace specrep::xen
