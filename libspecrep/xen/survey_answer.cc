// The backup's half of the survey: could this host run the guest?

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "libspecrep/error.h"
#include "libspecrep/xen/cpu_policy.h"
#include "libspecrep/xen/disks.h"
#include "libspecrep/xen/domain_config.h"
#include "libspecrep/xen/findings.h"
#include "libspecrep/xen/registry.h"
#include "libspecrep/xen/survey.h"

namespace specrep::xen {

namespace {

// Where Debian and upstream put the device model.
constexpr const char* kDeviceModels[] = {
    "/usr/libexec/xen-qemu-system-i386", "/usr/lib/xen-4.17/bin/qemu-system-i386",
    "/usr/lib/xen/bin/qemu-system-i386", "/usr/local/lib/xen/bin/qemu-system-i386",
    "/usr/bin/qemu-system-i386",
};

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string version_text(std::uint32_t major, std::uint32_t minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

void check_xen_version(const Libxl& libxl, const wire::SurveyRequest& request, Findings& findings) {
  const std::string subject = "Xen version of the backup";
  const libxl_version_info* version = libxl_get_version_info(libxl.get());
  if (!version) throw Error("libxl does not tell Xen's version");
  const auto major = static_cast<std::uint32_t>(version->xen_version_major);
  const auto minor = static_cast<std::uint32_t>(version->xen_version_minor);
  const auto here = std::pair(major, minor);
  const auto there = std::pair(request.xen_major(), request.xen_minor());
  const std::string text = version_text(major, minor);
  if (here == there) return findings.ok(subject, text);
  if (here < there)
    return findings.problem(
        subject, text + ", older than the primary's " + version_text(there.first, there.second),
        "Xen moves guests to the same or a newer version only: upgrade the "
        "backup, or protect in the other direction");
  findings.warning(subject,
                   text + ", newer than the primary's " + version_text(there.first, there.second),
                   "after failover the guest cannot be moved back until the primary is upgraded");
}

void check_virtualisation(const libxl_physinfo& info, const wire::SurveyRequest& request,
                          Findings& findings) {
  const std::string subject = "virtualisation on the backup";
  if (request.kind() == wire::GUEST_KIND_UNSPECIFIED) return;
  if (!info.cap_hvm)
    return findings.problem(subject, "Xen has no hardware virtualisation there",
                            "turn VT-x or AMD-V on in the firmware");
  if (!info.cap_hap)
    return findings.warning(subject, "no hardware-assisted paging",
                            "after failover the guest cannot be protected from there");
  findings.ok(subject, "hardware-assisted");
}

void check_cpu(const wire::SurveyRequest& request, Findings& findings) {
  const std::string subject = "CPU of the backup";
  const Xenctrl xc;
  const std::string obstacle =
      cpu_policy_obstacle(xc, {request.cpuid_policy(), request.msr_policy()});
  if (obstacle.empty()) return findings.ok(subject, "has all that the guest sees");
  findings.problem(subject, obstacle,
                   "mask the features with cpuid= in the guest's configuration and restart it");
}

void check_guest_memory(const libxl_physinfo& info, const wire::SurveyRequest& request,
                        Findings& findings) {
  const std::string subject = "memory on the backup";
  const std::uint64_t free_kib = (info.free_pages + info.scrub_pages) * 4;
  const std::string text =
      "needs " + mebibytes(request.memory_kib()) + ", " + mebibytes(free_kib) + " free";
  if (free_kib >= request.memory_kib()) return findings.ok(subject, text);
  findings.problem(subject, text,
                   "shut guests down there, or give memory of its dom0 back to Xen: "
                   "`xl mem-set 0 ...`");
}

// MemAvailable of /proc/meminfo.
std::uint64_t available_kib() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("MemAvailable:")) return std::strtoull(line.c_str() + 13, nullptr, 10);
  return 0;
}

void check_staging_memory(const wire::SurveyRequest& request, Findings& findings) {
  const std::string subject = "dom0 memory on the backup";
  const std::uint64_t need_kib = request.staging_bytes_max() / 1024;
  const std::uint64_t have_kib = available_kib();
  const std::string text =
      mebibytes(need_kib) + " wanted for staging, " + mebibytes(have_kib) + " available";
  if (have_kib >= need_kib) return findings.ok(subject, text);
  findings.warning(subject, text,
                   "an epoch that writes more than there is ends protection: give its dom0 more");
}

void check_room_for_domain(const Libxl& libxl, const wire::SurveyRequest& request,
                           Findings& findings) {
  const std::string subject = "place for the copy";
  int count = 0;
  libxl_dominfo* list = libxl_list_domain(libxl.get(), &count);
  if (!list) throw Error("libxl cannot list this host's domains");
  std::string taken;
  for (int i = 0; i < count; ++i) {
    char* name_text = libxl_domid_to_name(libxl.get(), list[i].domid);
    const std::string name = name_text ? name_text : "";
    std::free(name_text);
    const std::string domid = std::to_string(list[i].domid);
    if (request.guest_uuid().size() == sizeof(Uuid) &&
        std::memcmp(libxl_uuid_bytearray_const(&list[i].uuid), request.guest_uuid().data(),
                    sizeof(Uuid)) == 0) {
      taken = "domain " + domid + " (" + name + ") has the guest's uuid";
    } else if (name == request.guest_name()) {
      taken = "domain " + domid + " has the guest's name";
    }
  }
  libxl_dominfo_list_free(list, count);
  if (taken.empty()) return findings.ok(subject, "name and uuid are free");
  findings.problem(subject, taken,
                   "the backup must be another host; a copy that was left there goes with "
                   "`xl remus-spec-stop` or `xl destroy`");
}

void check_existing_protection(const wire::SurveyRequest& request, Findings& findings) {
  if (request.guest_uuid().size() != Uuid{}.size()) return;
  Uuid uuid;
  std::copy(request.guest_uuid().begin(), request.guest_uuid().end(), uuid.begin());
  const std::string text = to_string(uuid);
  for (const Protection& p : list_protections()) {
    if (p.uuid != text || !p.alive) continue;
    findings.problem("copies on the backup", "it keeps a copy of this guest already, for " + p.peer,
                     "stop the other protection first");
  }
}

void check_bridges(const DomainConfig& config, Findings& findings) {
  std::string missing, found;
  for (int i = 0; i < config->num_nics; ++i) {
    const libxl_device_nic& nic = config->nics[i];
    const std::string script = nic.script ? nic.script : "vif-bridge";
    const std::string kind = script.substr(script.rfind('/') + 1);
    const bool is_ovs = kind == "vif-openvswitch";
    if (kind != "vif-bridge" && !is_ovs) continue;
    std::string bridge = nic.bridge ? nic.bridge : "xenbr0";
    // There, VLANs may stand behind the name: ovsbr0.100:101.
    if (is_ovs) bridge.resize(std::min(bridge.size(), bridge.find_first_of(".:")));
    // Open vSwitch gives each of its bridges an interface of the same name.
    const std::string sign = "/sys/class/net/" + bridge + (is_ovs ? "" : "/bridge");
    std::string& list = exists(sign) ? found : missing;
    if (list.find(bridge) == std::string::npos) list += (list.empty() ? "" : ", ") + bridge;
  }
  const std::string subject = "bridges on the backup";
  if (!missing.empty())
    findings.problem(subject, "missing: " + missing,
                     "make a bridge of that name there, joined to the same network");
  else if (!found.empty())
    findings.ok(subject, found);
}

// Only what is named by a plain path: what a block script makes of its target is its own affair.
void check_disk_files(const DomainConfig& config, Findings& findings) {
  std::string missing;
  for (int i = 0; i < config->num_disks; ++i) {
    const libxl_device_disk& disk = config->disks[i];
    if (!disk.pdev_path || disk.pdev_path[0] != '/') continue;
    if (disk.script && !is_replicated(disk)) continue;
    if (!exists(disk.pdev_path))
      missing += (missing.empty() ? "" : ", ") + std::string(disk.pdev_path);
  }
  if (!missing.empty())
    findings.problem("disks on the backup", "missing: " + missing,
                     "the backup must see the guest's disks at the same paths");
}

void check_kernel_modules(const DomainConfig& config, Findings& findings) {
  std::string missing;
  if (config->num_nics > 0) missing += missing_kernel_modules({"xen-netback"});
  if (config->num_disks > 0) {
    std::string block = missing_kernel_modules({"xen-blkback"});
    if (!replicated_disks(config).empty()) {
      const std::string nbd = missing_kernel_modules({"nbd"});
      if (!nbd.empty()) block += (block.empty() ? "" : " ") + nbd;
    }
    if (!block.empty()) missing += (missing.empty() ? "" : " ") + block;
  }
  if (missing.empty()) return findings.ok("kernel modules of the backup", "all there");
  findings.problem("kernel modules of the backup", "missing: " + missing,
                   "install a dom0 kernel with them, such as Debian's linux-image-amd64");
}

void check_device_model(const DomainConfig& config, const wire::SurveyRequest& request,
                        Findings& findings) {
  if (request.kind() != wire::HVM && request.kind() != wire::HVM_PV_DRIVERS) return;
  const std::string subject = "device model on the backup";
  if (config->b_info.device_model) {
    if (exists(config->b_info.device_model))
      return findings.ok(subject, config->b_info.device_model);
    return findings.problem(subject, std::string("missing: ") + config->b_info.device_model,
                            "install the same QEMU there");
  }
  for (const char* path : kDeviceModels)
    if (exists(path)) return findings.ok(subject, path);
  findings.warning(subject, "found no QEMU for Xen", "on Debian: apt-get install qemu-system-xen");
}

}  // namespace

std::vector<wire::Finding> answer_survey(const wire::SurveyRequest& request) {
  const Libxl libxl;
  libxl_physinfo info;
  libxl_physinfo_init(&info);
  const int rc = libxl_get_physinfo(libxl.get(), &info);
  const libxl_physinfo physinfo = info;  // only plain numbers of it are read below
  libxl_physinfo_dispose(&info);
  if (rc != 0) throw Error("libxl does not tell what this host has");
  DomainConfig config;
  config.parse(libxl, request.domain_config_json());

  Findings findings;
  check_xen_version(libxl, request, findings);
  check_virtualisation(physinfo, request, findings);
  check_cpu(request, findings);
  check_guest_memory(physinfo, request, findings);
  check_staging_memory(request, findings);
  check_room_for_domain(libxl, request, findings);
  check_existing_protection(request, findings);
  check_bridges(config, findings);
  check_disk_files(config, findings);
  check_kernel_modules(config, findings);
  check_device_model(config, request, findings);
  return findings.take();
}

}  // namespace specrep::xen
