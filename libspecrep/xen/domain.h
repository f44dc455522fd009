#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "libspecrep/xen/handles.h"
#include "specrep.pb.h"

namespace specrep::xen {

using Uuid = std::array<std::uint8_t, 16>;
std::string to_string(const Uuid& uuid);  // 8-4-4-4-12

// What is known of a domain without touching it.
struct Domain {
  std::uint32_t domid;
  std::string name;
  Uuid uuid;
  wire::GuestKind kind;  // how it is suspended; GUEST_KIND_UNSPECIFIED for PV and dom0
};

// By name or by number, as `xl` takes them. Throws Error: no such domain.
Domain find_domain(const Libxl& libxl, const Xenctrl& xc, const std::string& name_or_id);

// The running domain's configuration as libxl knows it now, devices included, as JSON.
std::string domain_config_json(const Libxl& libxl, std::uint32_t domid);

// What Xen and libxl name the state of a domain's vCPUs; for people.
struct RunState {
  bool exists;
  bool shut_down;
  unsigned shutdown_reason;      // SHUTDOWN_*, when shut_down
  bool paused;                   // by `xl pause` or another tool
  std::uint64_t memory_kib_max;  // that Xen lets it have
};
RunState run_state(const Xenctrl& xc, std::uint32_t domid);

}  // namespace specrep::xen
