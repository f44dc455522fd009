// Reads a domain's dirty log once, as a live migration does, so that it is clean for everybody.
//   read-log DOMID

#include <cstdint>
#include <cstdio>
#include <cstdlib>

extern "C" {
#include <xenctrl.h>
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto domid = static_cast<std::uint32_t>(std::strtoul(argv[1], nullptr, 10));
  xc_interface* const xc = xc_interface_open(nullptr, nullptr, 0);
  xen_pfn_t gfns = 0;
  if (!xc || xc_domain_nr_gpfns(xc, domid, &gfns)) return 1;
  xc_hypercall_buffer_t bitmap{};
  if (!xc__hypercall_buffer_alloc_pages(xc, &bitmap, static_cast<int>(gfns / 8 / 4096 + 1))) return 1;
  const auto got = xc_logdirty_control(xc, domid, XEN_DOMCTL_SHADOW_OP_CLEAN, &bitmap, gfns, 0, nullptr);
  std::printf("%lld frames\n", static_cast<long long>(got));
  return got < 0;
}
