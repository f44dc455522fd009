#include "libspecrep/xen/recover.h"

#include <chrono>
#include <exception>
#include <thread>

#include "libspecrep/error.h"
#include "libspecrep/xen/domain.h"
#include "libspecrep/xen/handles.h"
#include "libspecrep/xen/qmp.h"
#include "libspecrep/xen/suspend_request.h"

extern "C" {
#include <xenguest.h>
}

namespace specrep::xen {

namespace {

constexpr std::chrono::milliseconds kFreezePoll{10};

// The name that a domain bears while it is restored ends in this, as with `xl migrate`.
constexpr const char* kIncomingSuffix = "--incoming";

bool suspended(const RunState& state) {
  return state.exists && state.shut_down && state.shutdown_reason == SHUTDOWN_suspend;
}

bool cooperative(wire::GuestKind kind) { return kind == wire::PVH || kind == wire::HVM_PV_DRIVERS; }
bool has_device_model(wire::GuestKind kind) {
  return kind == wire::HVM || kind == wire::HVM_PV_DRIVERS;
}

bool suspends_within(std::chrono::milliseconds freeze_max, const Xenctrl& xc, std::uint32_t domid) {
  const auto until = std::chrono::steady_clock::now() + freeze_max;
  while (std::chrono::steady_clock::now() < until) {
    const RunState state = run_state(xc, domid);
    if (suspended(state)) return true;
    if (!state.exists || state.shut_down) return false;
    std::this_thread::sleep_for(kFreezePoll);
  }
  return false;
}

// Lets QEMU run on and drops its dirty log. Returns whether it was stopped.
bool resume_device_model(std::uint32_t domid) {
  Qmp qmp(domid);
  const bool stopped = !qmp.execute("query-status").value("running", true);
  if (stopped) qmp.execute("cont");
  drop_dirty_log(qmp);
  return stopped;
}

void resume_vcpus(const Xenctrl& xc, Xenstore& store, const Domain& domain) {
  const std::string who = domain.name + " (domain " + std::to_string(domain.domid) + ")";
  if (xc_domain_resume(xc.get(), domain.domid, 1) != 0)
    throw Error(errno_text("letting " + who + " run again"),
                "it is stopped; `xl remus-spec-stop " + domain.name +
                    "` tries again, `xl destroy " + domain.name + "` gives it up");
  // xenstored keeps in mind that the domain has shut down, and would not tell it of its next.
  if (!xs_resume_domain(store.get(), domain.domid))
    throw Error(errno_text("telling xenstored that " + who + " runs again"));
}

void append(std::string& done, const std::string& what) {
  done += (done.empty() ? "" : "; ") + what;
}

}  // namespace

std::string recover_guest(std::uint32_t domid, std::chrono::milliseconds freeze_max) {
  const Xenctrl xc;
  if (!run_state(xc, domid).exists) return {};
  const Libxl libxl;
  Xenstore store;
  const Domain domain = find_domain(libxl, xc, std::to_string(domid));

  std::string done;
  const bool cancelled = cancel_suspend_request(store, domid);
  if (cancelled) append(done, "suspend request taken back");

  RunState state = run_state(xc, domid);
  if (!suspended(state) && !state.shut_down && !cancelled && cooperative(domain.kind) &&
      suspends_within(freeze_max, xc, domid))
    state = run_state(xc, domid);
  if (!state.exists) return done;

  // The device model first, as libxl does: a vCPU that runs may need it at once. But what
  // becomes of it must not keep the vCPUs stopped.
  std::string device_model_error;
  if (has_device_model(domain.kind) && (suspended(state) || !state.shut_down)) {
    try {
      if (resume_device_model(domid)) append(done, "device model resumed");
    } catch (const std::exception& error) {
      device_model_error = error.what();
    }
  }
  if (suspended(state)) {
    resume_vcpus(xc, store, domain);
    append(done, "resumed");
  }
  // Whether it was on cannot be asked without side effects; off it does nothing.
  xc_shadow_control(xc.get(), domid, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0);

  if (!device_model_error.empty())
    throw Error("resuming the device model of " + domain.name + " (domain " +
                    std::to_string(domid) + "): " + device_model_error,
                "the guest's vCPUs run, its emulated devices may not; `xl remus-spec-stop " +
                    domain.name + "` tries again");
  return done;
}

bool unpause_held_guest(std::uint32_t domid) {
  const Xenctrl xc;
  xc_domaininfo_t info;
  if (xc_domain_getinfolist(xc.get(), domid, 1, &info) != 1 || info.domain != domid ||
      !(info.flags & XEN_DOMINF_paused))
    return false;
  if (xc_domain_unpause(xc.get(), domid))
    throw Error(errno_text("cannot unpause domain " + std::to_string(domid)),
                "try `xl unpause " + std::to_string(domid) + "`");
  return true;
}

bool leftover_copy_exists(const Protection& protection) {
  if (protection.role != "backup" || protection.alive || protection.domid == 0 ||
      protection.state == "activating")
    return false;
  const Xenctrl xc;
  xc_domaininfo_t info;
  if (xc_domain_getinfolist(xc.get(), protection.domid, 1, &info) != 1 ||
      info.domain != protection.domid || !(info.flags & XEN_DOMINF_paused))
    return false;
  const Domain domain = find_domain(Libxl(), xc, std::to_string(protection.domid));
  return to_string(domain.uuid) == protection.uuid && domain.name.ends_with(kIncomingSuffix);
}

void discard_leftover_copy(const Protection& protection) {
  if (!leftover_copy_exists(protection)) return;
  if (libxl_domain_destroy(Libxl().get(), protection.domid, nullptr) != 0)
    throw Error("destroying the left-over copy of " + protection.name + " (domain " +
                    std::to_string(protection.domid) + ")",
                "`xl destroy " + std::to_string(protection.domid) + "` tries again");
}

}  // namespace specrep::xen
