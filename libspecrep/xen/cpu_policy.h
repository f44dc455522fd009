#pragma once

#include <cstdint>
#include <string>

#include "libspecrep/xen/handles.h"

namespace specrep::xen {

// What a guest sees of its CPU, as Xen's toolstack passes it from host to host: arrays of
// xen_cpuid_leaf_t and xen_msr_entry_t.
struct CpuPolicy {
  std::string cpuid;
  std::string msrs;
};

// Throws Error.
CpuPolicy guest_cpu_policy(const Xenctrl& xc, std::uint32_t domid);

// Whether a PVH or HVM guest with this policy can run on this host. Empty when it can, else
// why not, for the operator. The policy comes from another host: nothing in it is trusted.
std::string cpu_policy_obstacle(const Xenctrl& xc, const CpuPolicy& guest);

}  // namespace specrep::xen
