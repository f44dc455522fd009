#include "libspecrep/xen/survey.h"

#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <optional>

#include "libspecrep/disk/record.h"
#include "libspecrep/error.h"
#include "libspecrep/guest/name.h"
#include "libspecrep/xen/cpu_policy.h"
#include "libspecrep/xen/disks.h"
#include "libspecrep/xen/domain_config.h"
#include "libspecrep/xen/findings.h"
#include "libspecrep/xen/registry.h"

namespace specrep::xen {

namespace {

// What the backup's dom0 may hold of an unfinished epoch. An epoch can rewrite all of a guest's
// memory, so that is what is asked for, up to what no dom0 should give.
constexpr std::uint64_t kStagedBytesMax = 1024 * 1024 * 1024;

// The guest that is looked at, with what several of the checks need of it.
struct Guest {
  const Domain& domain;
  const Libxl& libxl;
  const Xenctrl& xc;
  const Xenstore& store;
  std::optional<Protection> protection;  // a live one
  DomainConfig config;
  xc_domaininfo_t info;
};

std::optional<Protection> live_protection(const Domain& domain) {
  for (const Protection& p : list_protections())
    if (p.uuid == to_string(domain.uuid) && p.alive) return p;
  return std::nullopt;
}

std::string domain_path(const Domain& domain) {
  return "/local/domain/" + std::to_string(domain.domid);
}

void check_kind(const Guest& guest, Findings& findings) {
  const std::string subject = "guest kind";
  switch (guest.domain.kind) {
    case wire::PVH:
      return findings.ok(subject, "PVH");
    case wire::HVM_PV_DRIVERS:
      return findings.ok(subject, "HVM with PV drivers");
    case wire::HVM:
      return findings.ok(subject, "HVM without PV drivers");
    default:
      if (guest.domain.domid == 0)
        return findings.problem(subject, "dom0 itself", "name a guest: see `xl list`");
      return findings.problem(
          subject, "PV: its writes can only be logged with shadow paging, which Xen is giving up",
          "make it a PVH guest: type=\"pvh\" in its configuration");
  }
}

void check_name(const Guest& guest, Findings& findings) {
  try {
    guest::check_name(guest.domain.name);
  } catch (const Error& error) {
    findings.problem("guest name", error.what(), error.advice());
  }
}

void check_run_state(const Guest& guest, Findings& findings) {
  const std::string subject = "run state";
  const std::uint32_t flags = guest.info.flags;
  if (flags & XEN_DOMINF_shutdown) {
    const unsigned reason = (flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask;
    if (reason == SHUTDOWN_suspend && guest.protection)
      return findings.ok(subject, "stopped by a checkpoint");
    if (reason == SHUTDOWN_suspend)
      return findings.problem(
          subject, "suspended: being migrated or saved, or left so by a process that died",
          "wait for the migration; what specrep left behind, `xl remus-spec-stop " +
              guest.domain.name + "` undoes");
    return findings.problem(subject, "shut down", "start it");
  }
  if (flags & XEN_DOMINF_paused)
    return findings.warning(subject, "paused: nothing to protect until it runs",
                            "xl unpause " + guest.domain.name);
  findings.ok(subject, "running");
}

void check_suspend(const Guest& guest, Findings& findings) {
  const std::string subject = "suspend support";
  if (guest.domain.kind == wire::HVM)
    return findings.ok(subject, "transparent: the guest need not take part");
  if (guest.domain.kind == wire::GUEST_KIND_UNSPECIFIED) return;
  const auto feature = guest.store.read(domain_path(guest.domain) + "/control/feature-suspend");
  if (feature == "1") return findings.ok(subject, "cooperative: the guest says that it can");
  findings.problem(subject, "the guest's kernel has not said that it can be suspended",
                   "wait until it has booted; its kernel needs Xen support and power management "
                   "(Linux: CONFIG_HVC_XEN, CONFIG_PM_SLEEP, CONFIG_HIBERNATE_CALLBACKS)");
}

void check_log_dirty(const Guest& guest, Findings& findings) {
  const std::string subject = "log-dirty support";
  if (guest.domain.kind == wire::GUEST_KIND_UNSPECIFIED) return;
  if (guest.info.flags & XEN_DOMINF_hap) return findings.ok(subject, "hardware-assisted paging");
  findings.problem(subject, "the guest runs on shadow paging",
                   "set hap=1 in its configuration; the CPU must have nested paging (EPT, NPT)");
}

// What is bound to this host, or whose state Xen does not save.
void check_devices(const Guest& guest, Findings& findings) {
  const DomainConfig& config = guest.config;
  std::vector<std::string> bound;
  const auto count = [&](int n, const std::string& name) {
    if (n > 0) bound.push_back(std::to_string(n) + " " + name);
  };
  count(config->num_pcidevs, "PCI");
  count(config->num_dtdevs, "device-tree");
  count(config->num_usbdevs, "USB");
  count(config->num_vtpms, "vTPM");
  count(config->num_p9s, "9pfs");
  count(config->num_pvcallsifs, "PV calls");
  count(config->num_vdispls, "PV display");
  count(config->num_vsnds, "PV sound");
  count(config->b_info.num_ioports, "I/O port");
  count(config->b_info.num_irqs, "IRQ");
  count(config->b_info.num_iomem, "I/O memory");
  const std::string subject = "devices that cannot move";
  if (bound.empty()) {
    findings.ok(subject, "none");
  } else {
    std::string list;
    for (const std::string& one : bound) list += (list.empty() ? "" : ", ") + one;
    findings.problem(subject, list + ": bound to this host", "detach them from the guest first");
  }
  if (config->num_channels > 0)
    findings.warning("channels", std::to_string(config->num_channels) + " in use",
                     "what listens at their other end must be started on the backup");
}

// Settings with which Xen or libxl refuses to save a domain, or saves it incompletely.
void check_settings(const Guest& guest, Findings& findings) {
  const DomainConfig& config = guest.config;
  const auto set = [](libxl_defbool value) {
    return !libxl_defbool_is_default(value) && libxl_defbool_val(value);
  };
  const auto refuse = [&](bool bad, const std::string& what, const std::string& advice) {
    if (bad) findings.problem("configuration", what, advice);
  };
  refuse(set(config->b_info.disable_migrate), "nomigrate is set", "remove nomigrate=1");
  refuse(config->b_info.num_vnuma_nodes > 0, "virtual NUMA: libxl cannot save it",
         "remove vnuma from the configuration");
  refuse(set(config->b_info.nested_hvm), "nested virtualisation: Xen does not save its state",
         "remove nestedhvm=1");
  if (guest.domain.kind != wire::HVM && guest.domain.kind != wire::HVM_PV_DRIVERS) return;
  refuse(set(config->b_info.device_model_stubdomain), "the device model runs in a stub domain",
         "remove device_model_stubdomain_override=1");
  refuse(config->b_info.device_model_version == LIBXL_DEVICE_MODEL_VERSION_QEMU_XEN_TRADITIONAL,
         "the old device model (qemu-xen-traditional)", "use device_model_version=\"qemu-xen\"");
}

void check_device_model(const Guest& guest, Findings& findings) {
  if (guest.domain.kind != wire::HVM && guest.domain.kind != wire::HVM_PV_DRIVERS) return;
  const std::string path = "/var/run/xen/qmp-libxl-" + std::to_string(guest.domain.domid);
  struct stat status {};
  if (stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode))
    return findings.ok("device model", "QEMU answers on QMP");
  findings.problem("device model", "no QMP socket at " + path,
                   "is the guest's QEMU running? Its log is in /var/log/xen");
}

void check_disks(const Guest& guest, const SurveyOptions& options, Findings& findings) {
  const std::string subject = "disks";
  const DomainConfig& config = guest.config;
  std::string replicated, others, not_served;
  const auto name = [](std::string& list, const std::string& disk) {
    list += (list.empty() ? "" : ", ") + disk;
  };
  for (int i = 0; i < config->num_disks; ++i) {
    const libxl_device_disk& disk = config->disks[i];
    if (!disk.readwrite || disk.is_cdrom) continue;
    const std::string vdev = disk.vdev ? disk.vdev : "?";
    if (!is_replicated(disk))
      name(others, vdev);
    else if (access(disk::Places(disk.pdev_path).control_socket.c_str(), F_OK) != 0)
      name(not_served, vdev);
    else
      name(replicated, vdev);
  }
  if (config->num_disks == 0) return findings.ok(subject, "none");
  if (replicated.empty() && others.empty() && not_served.empty())
    return findings.ok(subject, "read-only");
  if (!options.disk_replication)
    return findings.warning(subject, "not replicated (-d)",
                            "the backup must see the same storage; after failover it may hold "
                            "writes that the guest has not made yet");
  if (!not_served.empty())
    return findings.problem(subject, not_served + ": the disk's server does not run",
                            "see /var/log/specrep; the guest must be started anew");
  if (!others.empty())
    return findings.problem(
        subject, others + ": not replicated",
        "write the disk as script=block-specrep,vdev=" + others.substr(0, others.find(',')) +
            ",target=PATH in the guest's configuration and start it anew; or "
            "-F -d goes on without: after failover the disk may hold writes "
            "that the guest has not made yet");
  findings.ok(subject, replicated + ": replicated, and committed with the epoch");
}

void check_network(const Guest& guest, const SurveyOptions& options, Findings& findings) {
  const std::string subject = "network interfaces";
  const int count = guest.config->num_nics;
  if (count == 0) return findings.ok(subject, "none");
  if (!options.network_buffering)
    return findings.warning(subject, std::to_string(count) + ": output is not held back (-n)",
                            "after failover clients may have seen what the guest has not sent yet");
  const std::string missing =
      missing_kernel_modules({"sch_plug", "sch_ingress", "cls_matchall", "ifb", "act_mirred"});
  if (!missing.empty())
    return findings.problem(subject, "kernel modules that hold output back are missing: " + missing,
                            "install a kernel with them; -F -n goes on without: after failover "
                            "clients may have seen what the guest has not sent yet");
  findings.ok(subject,
              std::to_string(count) + ", output is held back until its epoch is committed");
}

void check_xen_version(const Guest& guest, Findings& findings) {
  const libxl_version_info* version = libxl_get_version_info(guest.libxl.get());
  if (!version) throw Error("libxl does not tell Xen's version");
  findings.ok("Xen version", std::to_string(version->xen_version_major) + "." +
                                 std::to_string(version->xen_version_minor));
}

void check_existing_protection(const Guest& guest, Findings& findings) {
  const std::string subject = "existing protection";
  if (!guest.protection) return findings.ok(subject, "none");
  const std::string& peer = guest.protection->peer;
  if (guest.protection->role == "backup")
    return findings.problem(subject, "this is the copy of a guest of " + peer,
                            "run this on " + peer);
  findings.problem(subject, "already protected by " + peer,
                   "xl remus-spec-stop " + guest.domain.name);
}

}  // namespace

std::string missing_kernel_modules(std::initializer_list<const char*> modules) {
  utsname kernel{};
  uname(&kernel);
  std::vector<std::string> loadable;  // names without folder and suffix
  for (const char* list : {"modules.dep", "modules.builtin"}) {
    std::ifstream file(std::string("/lib/modules/") + kernel.release + "/" + list);
    for (std::string line; std::getline(file, line);) {
      const std::string path = line.substr(0, line.find(':'));
      std::string name = path.substr(path.rfind('/') + 1);
      name.resize(std::min(name.size(), name.find(".ko")));
      std::replace(name.begin(), name.end(), '-', '_');
      loadable.push_back(name);
    }
  }
  std::string missing;
  for (const char* module : modules) {
    std::string name = module;
    std::replace(name.begin(), name.end(), '-', '_');
    if (access(("/sys/module/" + name).c_str(), F_OK) == 0) continue;
    if (std::find(loadable.begin(), loadable.end(), name) != loadable.end()) continue;
    missing += (missing.empty() ? "" : " ") + std::string(module);
  }
  return missing;
}

std::vector<wire::Finding> survey_guest(const Domain& domain, const SurveyOptions& options) {
  const Libxl libxl;
  const Xenctrl xc;
  const Xenstore store;
  Guest guest{domain, libxl, xc, store, live_protection(domain), {}, {}};
  if (xc_domain_getinfolist(xc.get(), domain.domid, 1, &guest.info) != 1 ||
      guest.info.domain != domain.domid)
    throw Error("domain " + std::to_string(domain.domid) + " (" + domain.name + ") is gone");

  Findings findings;
  check_kind(guest, findings);
  if (domain.domid == 0) return findings.take();
  check_name(guest, findings);
  guest.config.parse(libxl, domain_config_json(libxl, domain.domid));
  check_run_state(guest, findings);
  check_suspend(guest, findings);
  check_log_dirty(guest, findings);
  check_device_model(guest, findings);
  check_devices(guest, findings);
  check_settings(guest, findings);
  check_disks(guest, options, findings);
  check_network(guest, options, findings);
  check_xen_version(guest, findings);
  check_existing_protection(guest, findings);
  return findings.take();
}

wire::SurveyRequest survey_request(const Domain& domain) {
  const Libxl libxl;
  const Xenctrl xc;
  wire::SurveyRequest request;
  request.set_guest_name(domain.name);
  request.set_guest_uuid(domain.uuid.data(), domain.uuid.size());
  request.set_kind(domain.kind);
  const std::string json = domain_config_json(libxl, domain.domid);
  request.set_domain_config_json(json);

  DomainConfig config;
  config.parse(libxl, json);
  std::uint64_t need_kib = 0;
  if (libxl_domain_need_memory(libxl.get(), config.get(), domain.domid, &need_kib) != 0)
    throw Error("libxl cannot tell how much memory " + domain.name + " needs");
  request.set_memory_kib(need_kib);
  request.set_staging_bytes_max(std::min(need_kib * 1024, kStagedBytesMax));

  const libxl_version_info* version = libxl_get_version_info(libxl.get());
  if (!version) throw Error("libxl does not tell Xen's version");
  request.set_xen_major(static_cast<std::uint32_t>(version->xen_version_major));
  request.set_xen_minor(static_cast<std::uint32_t>(version->xen_version_minor));

  const CpuPolicy policy = guest_cpu_policy(xc, domain.domid);
  request.set_cpuid_policy(policy.cpuid);
  request.set_msr_policy(policy.msrs);
  return request;
}

}  // namespace specrep::xen
