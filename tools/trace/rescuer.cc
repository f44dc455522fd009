#include "tools/trace/rescuer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <new>
#include <string>

#include "libspecrep/error.h"
#include "libspecrep/xen/domain.h"
#include "libspecrep/xen/xen_guest.h"

namespace specrep::tools {

namespace {

void rescue(const Rescuer::Owed& owed) {
  if (!owed.paused && !owed.logging) return;
  const xen::Xenctrl xc;
  // Fails without harm when it was not paused yet.
  if (owed.paused) xc_domain_unpause(xc.get(), owed.domid);
  if (owed.logging)
    xen::XenGuest(xen::find_domain(xen::Libxl(), xc, std::to_string(owed.domid))).stop_dirty_log();
}

}  // namespace

Rescuer::Rescuer() {
  void* shared =
      mmap(nullptr, sizeof(Owed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw Error(errno_text("cannot share memory with the rescuer"));
  owed_ = new (shared) Owed{};
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) throw Error(errno_text("cannot make a pipe"));
  child_ = fork();
  if (child_ < 0) throw Error(errno_text("cannot start the rescuer"));
  if (child_ != 0) {
    close(ends[0]);
    alive_ = ends[1];
    return;
  }
  close(ends[1]);
  // Out of reach of what ends the recorder from its terminal.
  setsid();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(signal, SIG_IGN);
  char byte = 0;
  while (read(ends[0], &byte, 1) < 0) {
  }
  try {
    rescue(*owed_);
  } catch (const std::exception& error) {
    std::cerr << "specrep-trace: " << error.what() << "\n";
  }
  _exit(0);
}

Rescuer::~Rescuer() {
  close(alive_);
  waitpid(child_, nullptr, 0);
  munmap(owed_, sizeof(Owed));
}

}  // namespace specrep::tools
