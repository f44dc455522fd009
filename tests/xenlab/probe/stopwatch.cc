// How long a domain stands still, seen from dom0: looks at its state at a fixed interval, so
// that it measures any kind of checkpointing alike.
//
// Usage: stopwatch DOMID SECONDS
// Prints one JSON object: seconds watched, seconds in which the domain was suspended or paused,
// how many times it was stopped, and the CPU time that it and dom0 took meanwhile.

#include <time.h>

#include <cstdio>
#include <cstdlib>

extern "C" {
#include <xenctrl.h>
}

namespace {

constexpr long kIntervalNs = 1'000'000;

double now_s() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

double cpu_s(xc_interface* xc, uint32_t domid) {
  xc_dominfo_t info;
  if (xc_domain_getinfo(xc, domid, 1, &info) != 1 || info.domid != domid) return 0;
  return static_cast<double>(info.cpu_time) / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: stopwatch DOMID SECONDS\n");
    return 2;
  }
  const auto domid = static_cast<uint32_t>(std::atoi(argv[1]));
  const double seconds = std::atof(argv[2]);
  xc_interface* xc = xc_interface_open(nullptr, nullptr, 0);
  if (!xc) return 1;

  const double guest_before_s = cpu_s(xc, domid), dom0_before_s = cpu_s(xc, 0);
  const double start_s = now_s();
  double last_s = start_s, stopped_s = 0;
  unsigned stops = 0;
  bool was_stopped = false;
  while (last_s - start_s < seconds) {
    const timespec interval{0, kIntervalNs};
    nanosleep(&interval, nullptr);
    xc_dominfo_t info;
    if (xc_domain_getinfo(xc, domid, 1, &info) != 1 || info.domid != domid) break;
    const bool stopped = info.shutdown || info.paused;
    const double time_s = now_s();
    // The state changed somewhere in the interval: half of it counts.
    stopped_s += (time_s - last_s) * (stopped + was_stopped) / 2;
    stops += stopped && !was_stopped;
    was_stopped = stopped;
    last_s = time_s;
  }
  std::printf("{\"seconds\": %.3f, \"stopped_s\": %.3f, \"stops\": %u, \"guest_cpu_s\": %.3f, "
              "\"dom0_cpu_s\": %.3f}\n",
              last_s - start_s, stopped_s, stops, cpu_s(xc, domid) - guest_before_s,
              cpu_s(xc, 0) - dom0_before_s);
  xc_interface_close(xc);
}
