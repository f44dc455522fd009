// Stays with a guest of this host as the process behind `xl create` does. That one ends when it
// sees the guest suspended, as it is at every checkpoint; without another, a guest that is or was
// protected would be left behind when it shuts down, whatever its on_poweroff, on_reboot and
// on_crash say. Started by `xl remus-spec` after the first checkpoint.
//
// Usage: specrep-monitor DOMID NAME
// Goes to the background; ends when the guest is gone. One for each guest: a second one ends at
// once. Log: /var/log/specrep/NAME.monitor.log.

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "libspecrep/error.h"
#include "libspecrep/xen/domain.h"
#include "libspecrep/xen/domain_monitor.h"
#include "tools/log.h"

namespace {

using namespace specrep;

int open_or_throw(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) throw Error(errno_text("cannot open " + path));
  return fd;
}

// Nothing of the terminal or the ssh session that it was started from stays open.
void go_to_background(const std::string& log_path) {
  mkdir("/var/log/specrep", 0700);
  const int log = open_or_throw(log_path, O_WRONLY | O_APPEND);
  const int null = open_or_throw("/dev/null", O_RDONLY);
  const pid_t child = fork();
  if (child < 0) throw Error(errno_text("cannot go to the background"));
  if (child > 0) _exit(0);
  setsid();
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: specrep-monitor DOMID NAME\n");
    return 2;
  }
  tools::log_to_stderr();
  std::signal(SIGPIPE, SIG_IGN);
  try {
    // First, since libxl may have to wait for its turn at the device model, which checkpoints use.
    go_to_background("/var/log/specrep/" + std::string(argv[2]) + ".monitor.log");
    const xen::Libxl libxl;
    const xen::Domain domain = xen::find_domain(libxl, xen::Xenctrl(), argv[1]);
    const std::string config = xen::domain_config_json(libxl, domain.domid);
    mkdir("/run/specrep", 0700);
    // Held until this process ends.
    const int lock =
        open_or_throw("/run/specrep/" + xen::to_string(domain.uuid) + ".monitor", O_RDWR);
    if (flock(lock, LOCK_EX | LOCK_NB)) return 0;
    spdlog::info("staying with guest {}, domain {}", domain.name, domain.domid);
    xen::monitor_domain(domain.domid, config);
    spdlog::info("guest {} is gone", domain.name);
    return 0;
  } catch (const Error& error) {
    spdlog::error(error.what());
    return 1;
  }
}
