// What a guest pays when its dirty log is cleaned: CPU time by the page that it then writes.
//   fault-cost DOMID SECONDS PERIOD_MS
// The guest must do the same all the time. Logs for SECONDS without cleaning, then for as long with a
// cleaning every PERIOD_MS, and again, and prints one JSON object. A domain's CPU time includes what Xen does
// for its faults.

#include <time.h>

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

extern "C" {
#include <xenctrl.h>
}

namespace {

xc_interface* xc;
std::uint32_t domid;
std::uint64_t frames;
xc_hypercall_buffer_t buffer{};
std::uint64_t* bitmap;

std::uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

std::uint64_t cpu_ns() {
  xc_domaininfo_t info;
  if (xc_domain_getinfolist(xc, domid, 1, &info) != 1 || info.domain != domid) std::abort();
  return info.cpu_time;
}

std::uint64_t clean() {
  if (xc_logdirty_control(xc, domid, XEN_DOMCTL_SHADOW_OP_CLEAN, &buffer, frames, 0, nullptr) < 0)
    std::abort();
  std::uint64_t pages = 0;
  for (std::uint64_t i = 0; i < (frames + 63) / 64; ++i) pages += static_cast<unsigned>(std::popcount(bitmap[i]));
  return pages;
}

struct Spent {
  std::uint64_t cpu_ns = 0, pages = 0, cleanings = 0;
};

Spent spend(std::uint64_t seconds, std::uint64_t period_ns) {
  Spent spent;
  clean();
  const std::uint64_t before = cpu_ns(), end = now_ns() + seconds * 1'000'000'000;
  while (now_ns() < end) {
    const timespec pause{static_cast<time_t>(period_ns / 1'000'000'000), static_cast<long>(period_ns % 1'000'000'000)};
    nanosleep(&pause, nullptr);
    spent.pages += clean();
    ++spent.cleanings;
  }
  spent.cpu_ns = cpu_ns() - before;
  return spent;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  xc = xc_interface_open(nullptr, nullptr, 0);
  if (!xc) return 1;
  domid = static_cast<std::uint32_t>(std::atoi(argv[1]));
  const auto seconds = static_cast<std::uint64_t>(std::atoi(argv[2]));
  const auto period_ns = static_cast<std::uint64_t>(std::atoi(argv[3])) * 1'000'000;
  xen_pfn_t last;
  if (xc_domain_maximum_gpfn(xc, domid, &last)) return 1;
  frames = last + 1;
  bitmap = static_cast<std::uint64_t*>(xc__hypercall_buffer_alloc_pages(xc, &buffer, static_cast<int>(((frames + 63) / 64 * 8 + 4095) / 4096)));
  if (!bitmap || xc_shadow_control(xc, domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, nullptr, 0) < 0) return 1;
  Spent rare, often;
  for (int i = 0; i < 2; ++i) {
    const Spent a = spend(seconds, seconds * 1'000'000'000);
    const Spent b = spend(seconds, period_ns);
    rare = {rare.cpu_ns + a.cpu_ns, rare.pages + a.pages, rare.cleanings + a.cleanings};
    often = {often.cpu_ns + b.cpu_ns, often.pages + b.pages, often.cleanings + b.cleanings};
  }
  xc_shadow_control(xc, domid, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0);
  const double faults = static_cast<double>(often.pages) - static_cast<double>(rare.pages);
  std::printf("{\"seconds\": %llu, \"rare\": {\"cpu_ms\": %.1f, \"pages\": %llu, \"cleanings\": %llu}, "
              "\"often\": {\"cpu_ms\": %.1f, \"pages\": %llu, \"cleanings\": %llu}, \"ns_per_page\": %.0f}\n",
              static_cast<unsigned long long>(2 * seconds), static_cast<double>(rare.cpu_ns) / 1e6,
              static_cast<unsigned long long>(rare.pages), static_cast<unsigned long long>(rare.cleanings),
              static_cast<double>(often.cpu_ns) / 1e6, static_cast<unsigned long long>(often.pages),
              static_cast<unsigned long long>(often.cleanings),
              (static_cast<double>(often.cpu_ns) - static_cast<double>(rare.cpu_ns)) / faults);
  return 0;
}
