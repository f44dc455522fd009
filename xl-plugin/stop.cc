// xl remus-spec-stop: ends a protection; the guest runs on.

#include <signal.h>

#include <cerrno>
#include <chrono>
#include <iostream>
#include <optional>
#include <thread>

#include "libspecrep/error.h"
#include "libspecrep/xen/network.h"
#include "libspecrep/xen/recover.h"
#include "libspecrep/xen/registry.h"
#include "xl-plugin/command.h"
#include "xl-plugin/held.h"
#include "xl-plugin/paths.h"

namespace specrep::xl {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kStopMax{30'000};
constexpr milliseconds kSettleMax{15'000};
constexpr milliseconds kQuiet{2000};  // before it says that it waits
constexpr milliseconds kPoll{100};

std::string recover(std::uint32_t domid, const std::string& name) {
  std::string done = xen::recover_guest(domid);
  const auto note = [&done](const char* what) {
    done += (done.empty() ? "" : "; ") + std::string(what);
  };
  if (!xen::run_state(xen::Xenctrl(), domid).exists) return name + " is gone";
  if (xen::open_output(domid, program_path("specrep-netbuf"))) {
    note("network opened");
    if (xen::unpause_held_guest(domid)) note("unpaused");
  }
  return name + " runs on, unprotected" + (done.empty() ? "" : " (" + done + ")");
}

int stop_alive(const xen::Protection& p) {
  if (kill(p.pid, SIGTERM) != 0 && errno != ESRCH)
    throw Error(errno_text("cannot signal specrep-primary (process " + std::to_string(p.pid) + ")"),
                "run this as root");
  const auto start = Clock::now();
  bool told = false;
  for (;;) {
    const auto now = xen::find_protection(p.uuid);
    if (!now || !now->alive) break;
    const auto waited = Clock::now() - start;
    if (waited > kStopMax)
      throw Error("the protection of " + p.name + " does not end: specrep-primary is process " +
                      std::to_string(p.pid),
                  "`kill -9 " + std::to_string(p.pid) +
                      "` ends it by force; the guest is then made to run on");
    if (waited > kQuiet && !told) {
      std::cerr << "waiting for the last epoch of " << p.name << " ..." << std::endl;
      told = true;
    }
    std::this_thread::sleep_for(kPoll);
  }
  // If the backup did not confirm that it stops, the guardian is still finding out what became of
  // its copy.
  const auto ended = Clock::now();
  while (is_held(p.domid) && Clock::now() - ended < kSettleMax) std::this_thread::sleep_for(kPoll);
  if (is_held(p.domid)) refuse_held(p.name, p.peer);
  const xen::RunState state = xen::run_state(xen::Xenctrl(), p.domid);
  if (!state.exists)
    std::cout << p.name << " is gone; nothing is protected any more\n";
  else if (state.shut_down)
    std::cout << recover(p.domid, p.name) << "\n";
  else
    std::cout << p.name << " runs on, unprotected\n";
  return kOk;
}

int stop_stale(const xen::Protection& p, bool force) {
  std::string stands;
  if (p.role == "primary") {
    if (!force && is_held(p.domid)) refuse_held(p.name, p.peer);
    stands = recover(p.domid, p.name);
  } else if (xen::leftover_copy_exists(p)) {
    xen::discard_leftover_copy(p);
    stands = "its half-made copy on this host is destroyed";
  } else {
    stands = "it has left no copy on this host";
  }
  xen::remove_stale(p);
  std::cout << "the protection of " << p.name << " had died already; " << stands << "\n";
  return kOk;
}

// No record says that specrep touched this guest. If it is suspended, somebody else may be
// migrating or saving it, and letting it run would make a second copy: only the operator knows.
int stop_unknown(const std::string& guest, bool force) {
  const xen::Xenctrl xc;
  const xen::Libxl libxl;
  const xen::Domain domain = xen::find_domain(libxl, xc, guest);
  const xen::RunState state = xen::run_state(xc, domain.domid);
  const bool suspended = state.shut_down && state.shutdown_reason == SHUTDOWN_suspend;
  if (is_held(domain.domid)) {
    if (!force) refuse_held(domain.name, "the other host");
  } else if (!suspended) {
    throw Error(domain.name + " is not protected", "`xl remus-spec-list` lists what is");
  }
  if (!force && suspended)
    throw Error(domain.name + " is suspended, but nothing says that specrep did it",
                "if nothing migrates or saves it: " + (kStopForced + domain.name));
  std::cout << recover(domain.domid, domain.name) << "\n";
  return kOk;
}

}  // namespace

int stop(int argc, char** argv) {
  std::string guest;
  bool force = false;
  CLI::App app("Ends the protection of a guest, which runs on, unprotected.", "xl remus-spec-stop");
  app.add_option("DOMAIN", guest, "name, id or uuid of the guest")->required();
  app.add_flag(
      "--force", force,
      "let a guest go on whose copy may run on the other host, or that is suspended for no "
      "known reason");
  if (const auto status = parse(app, argc, argv)) return *status;

  const auto protection = xen::find_protection(guest);
  if (!protection) return stop_unknown(guest, force);
  if (!protection->alive) return stop_stale(*protection, force);
  if (protection->role == "backup")
    throw Error(
        "this host keeps the copy; " + protection->name + " is protected by " + protection->peer,
        "on " + protection->peer + ": xl remus-spec-stop " + protection->name);
  return stop_alive(*protection);
}

}  // namespace specrep::xl
