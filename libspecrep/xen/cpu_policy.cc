#include "libspecrep/xen/cpu_policy.h"

#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "libspecrep/error.h"

extern "C" {
#include <xen/sysctl.h>
#include <xenguest.h>
}

namespace specrep::xen {

namespace {

struct PolicyDeleter {
  void operator()(xc_cpu_policy_t* policy) const { xc_cpu_policy_destroy(policy); }
};
using Policy = std::unique_ptr<xc_cpu_policy_t, PolicyDeleter>;

Policy new_policy() {
  Policy policy(xc_cpu_policy_init());
  if (!policy) throw Error(errno_text("allocating a CPU policy"));
  return policy;
}

using Leaves = std::vector<xen_cpuid_leaf_t>;
using Msrs = std::vector<xen_msr_entry_t>;

void serialise(const Xenctrl& xc, const xc_cpu_policy_t* policy, Leaves& leaves, Msrs& msrs) {
  std::uint32_t leaf_count = 0, msr_count = 0;
  if (xc_cpu_policy_get_size(xc.get(), &leaf_count, &msr_count) != 0)
    throw Error(errno_text("asking Xen for the size of a CPU policy"));
  leaves.resize(leaf_count);
  msrs.resize(msr_count);
  if (xc_cpu_policy_serialise(xc.get(), policy, leaves.data(), &leaf_count, msrs.data(),
                              &msr_count) != 0)
    throw Error(errno_text("reading a CPU policy"));
  leaves.resize(leaf_count);
  msrs.resize(msr_count);
}

template <typename T>
std::string to_bytes(const std::vector<T>& array) {
  return {reinterpret_cast<const char*>(array.data()), array.size() * sizeof(T)};
}

template <typename T>
bool from_bytes(const std::string& bytes, std::vector<T>& array) {
  if (bytes.size() % sizeof(T) != 0) return false;
  array.resize(bytes.size() / sizeof(T));
  if (!array.empty()) std::memcpy(array.data(), bytes.data(), bytes.size());
  return true;
}

// The CPUID words whose bits each name a feature (Intel SDM volume 2A, CPUID; AMD APM volume 3,
// appendix E). Xen 4.17's own xc_cpu_policy_is_compatible() does not compare them, and a guest
// that uses an instruction which the other host lacks would die there after failover.
struct FeatureWord {
  std::uint32_t leaf, subleaf;
  std::uint32_t xen_cpuid_leaf_t::*word;
  // No property of the host: they follow the guest's control registers (OSXSAVE, APIC, OSPKE),
  // or tell of a topology that the toolstack made up (HTT, CMP_LEGACY).
  std::uint32_t not_compared;
};
constexpr std::uint32_t kOsxsave = 1u << 27, kApic = 1u << 9, kOspke = 1u << 4;
constexpr std::uint32_t kHtt = 1u << 28, kCmpLegacy = 1u << 1;
// On AMD's CPUs these bits repeat those of leaf 1, which are compared; Xen keeps them in a
// domain's policy and not in the host's.
constexpr std::uint32_t kRepeatsLeaf1 = 0x0183f3ff;
constexpr FeatureWord kFeatureWords[] = {
    {0x1, XEN_CPUID_NO_SUBLEAF, &xen_cpuid_leaf_t::c, kOsxsave},
    {0x1, XEN_CPUID_NO_SUBLEAF, &xen_cpuid_leaf_t::d, kApic | kHtt},
    {0x7, 0, &xen_cpuid_leaf_t::b, 0},
    {0x7, 0, &xen_cpuid_leaf_t::c, kOspke},
    {0x7, 0, &xen_cpuid_leaf_t::d, 0},
    {0x7, 1, &xen_cpuid_leaf_t::a, 0},
    {0xd, 1, &xen_cpuid_leaf_t::a, 0},
    {0x80000001, XEN_CPUID_NO_SUBLEAF, &xen_cpuid_leaf_t::c, kCmpLegacy},
    {0x80000001, XEN_CPUID_NO_SUBLEAF, &xen_cpuid_leaf_t::d, kRepeatsLeaf1},
    {0x80000008, XEN_CPUID_NO_SUBLEAF, &xen_cpuid_leaf_t::b, 0},
};

std::uint32_t word_of(const Leaves& leaves, const FeatureWord& which) {
  for (const xen_cpuid_leaf_t& leaf : leaves)
    if (leaf.leaf == which.leaf && leaf.subleaf == which.subleaf) return leaf.*which.word;
  return 0;
}

std::string missing_features(const Leaves& guest, const Leaves& host) {
  std::string missing;
  for (const FeatureWord& which : kFeatureWords) {
    const std::uint32_t bits = word_of(guest, which) & ~word_of(host, which) & ~which.not_compared;
    if (bits == 0) continue;
    const char* name = which.word == &xen_cpuid_leaf_t::a   ? "eax"
                       : which.word == &xen_cpuid_leaf_t::b ? "ebx"
                       : which.word == &xen_cpuid_leaf_t::c ? "ecx"
                                                            : "edx";
    char text[64];
    std::snprintf(text, sizeof text, "%sleaf %#x %s bits %#x", missing.empty() ? "" : ", ",
                  which.leaf, name, bits);
    missing += text;
  }
  return missing;
}

}  // namespace

CpuPolicy guest_cpu_policy(const Xenctrl& xc, std::uint32_t domid) {
  const Policy policy = new_policy();
  if (xc_cpu_policy_get_domain(xc.get(), domid, policy.get()) != 0)
    throw Error(errno_text("reading the CPU policy of domain " + std::to_string(domid)));
  Leaves leaves;
  Msrs msrs;
  serialise(xc, policy.get(), leaves, msrs);
  return {to_bytes(leaves), to_bytes(msrs)};
}

std::string cpu_policy_obstacle(const Xenctrl& xc, const CpuPolicy& guest_bytes) {
  Leaves guest_leaves, host_leaves;
  Msrs guest_msrs, host_msrs;
  if (!from_bytes(guest_bytes.cpuid, guest_leaves) || !from_bytes(guest_bytes.msrs, guest_msrs) ||
      guest_leaves.empty())
    return "the guest's CPU policy is not in the form that Xen 4.17 uses";

  const Policy guest = new_policy();
  if (xc_cpu_policy_update_cpuid(xc.get(), guest.get(), guest_leaves.data(),
                                 static_cast<std::uint32_t>(guest_leaves.size())) != 0 ||
      xc_cpu_policy_update_msrs(xc.get(), guest.get(), guest_msrs.data(),
                                static_cast<std::uint32_t>(guest_msrs.size())) != 0)
    return errno_text("this Xen cannot read the guest's CPU policy");

  const Policy host = new_policy();
  if (xc_cpu_policy_get_system(xc.get(), XEN_SYSCTL_cpu_policy_hvm_max, host.get()) != 0)
    throw Error(errno_text("reading this host's CPU policy"));
  if (!xc_cpu_policy_is_compatible(xc.get(), host.get(), guest.get()))
    return "Xen says that the guest's CPU policy is not compatible with this host";

  serialise(xc, host.get(), host_leaves, host_msrs);
  const std::string missing = missing_features(guest_leaves, host_leaves);
  if (missing.empty()) return {};
  return "the guest sees CPU features that this host lacks (CPUID " + missing + ")";
}

}  // namespace specrep::xen
