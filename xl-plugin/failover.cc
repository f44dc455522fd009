// xl remus-spec-failover: moves a protected guest to the host that keeps its copy; or starts a copy
// that is kept although its primary is lost.

#include <signal.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <iostream>
#include <thread>

#include "libspecrep/error.h"
#include "libspecrep/xen/domain.h"
#include "libspecrep/xen/registry.h"
#include "xl-plugin/command.h"
#include "xl-plugin/held.h"
#include "xl-plugin/paths.h"

namespace specrep::xl {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// The guest is given 40 s to suspend, its commit 5 s, the backup 20 s to complete its copy.
constexpr milliseconds kHandOverMax{90'000};
// For the guardian to end the copy here, or to find out which copy goes on.
constexpr milliseconds kSettleMax{15'000};
constexpr milliseconds kActivationMax{60'000};
constexpr milliseconds kPoll{100};

bool waits_for(milliseconds most, const std::function<bool()>& is_so) {
  const auto until = Clock::now() + most;
  while (!is_so()) {
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

void ask(const xen::Protection& p) {
  if (kill(p.pid, SIGUSR1) != 0 && errno != ESRCH)
    throw Error(errno_text("cannot signal process " + std::to_string(p.pid)), "run this as root");
}

bool is_over(const xen::Protection& p) {
  const auto now = xen::find_protection(p.uuid);
  return !now || !now->alive;
}

unsigned failures_of(const xen::Protection& p) { return p.status.value("hand_over_failures", 0u); }

// Throws when the guest was not handed over, and its protection goes on.
void check_not_refused(const xen::Protection& p) {
  const auto now = xen::find_protection(p.uuid);
  // None are left when protection has just ended.
  if (!now || failures_of(*now) <= failures_of(p)) return;
  const auto why =
      now->status.value("hand_over_failure", std::vector<std::string>{"no reason given", ""});
  throw Error(p.name + " runs on here, protected: " + why.at(0), why.at(1));
}

int hand_over(const xen::Protection& p) {
  if (p.peer.empty())
    throw Error(p.name + " has no copy on another host (-b)", "protect it with a host");
  if (p.state != "protected")
    throw Error(p.name + " cannot be handed over: its protection is in the state " + p.state,
                "try again when `xl remus-spec-list` shows it as protected");
  if (!p.status.value("can_hand_over", false))
    throw Error(p.name + " cannot be handed over: specrep on " + p.peer + " is too old for that",
                "install the same version there, and protect " + p.name + " again");

  const std::string record = switchover_record(p.name);
  std::error_code error;
  std::filesystem::remove(record, error);  // of an earlier one
  ask(p);
  const bool ended = waits_for(kHandOverMax, [&] {
    check_not_refused(p);
    return is_over(p);
  });
  if (!ended)
    throw Error(p.name + " was not handed over within 90 s", "what `xl remus-spec` said tells why");

  const auto gone = [&] { return !xen::run_state(xen::Xenctrl(), p.domid).exists; };
  if (std::filesystem::exists(record, error)) {
    if (!waits_for(kSettleMax, gone))
      std::cerr << "the copy of " << p.name << " that stands still here was not ended: `xl destroy "
                << p.domid << "`\n";
    std::cout << p.name << " runs on " << p.peer << " now\n";
    return kOk;
  }
  // A copy here that has to go is paused and cut off from the network before it is ended, which
  // takes seconds.
  const auto is_paused = [&] { return xen::run_state(xen::Xenctrl(), p.domid).paused; };
  waits_for(kSettleMax, [&] { return !is_held(p.domid) && !is_paused(); });
  if (is_held(p.domid)) refuse_held(p.name, p.peer);
  if (gone())
    throw Error(p.name + " does not run here any more, and was not handed over",
                "what `xl remus-spec` said tells why; look at " + p.peer);
  if (is_paused())
    throw Error(p.name + " is paused here, and was not handed over",
                "what `xl remus-spec` said tells why, and what to do");
  throw Error(p.name + " runs on here, unprotected: it was not handed over",
              "what `xl remus-spec` said tells why; protect it again");
}

int start_kept_copy(const xen::Protection& p) {
  if (p.state != "primary-lost")
    throw Error(p.peer + " has not lost its guest " + p.name + " (state " + p.state + ")",
                "on " + p.peer + ": xl remus-spec-failover " + p.name);
  if (!p.status.value("can_be_forced", false))
    throw Error("the specrep-backup that keeps the copy of " + p.name + " is too old for that");
  ask(p);
  if (!waits_for(kActivationMax, [&] { return is_over(p); }))
    throw Error("the copy of " + p.name + " was not started within 60 s",
                "/var/log/specrep/" + p.name + ".log says why");
  try {
    xen::find_domain(xen::Libxl(), xen::Xenctrl(), p.name);
  } catch (const Error&) {
    throw Error("the copy of " + p.name + " could not be started",
                "/var/log/specrep/" + p.name + ".log says why");
  }
  std::cout << p.name << " runs here now\n";
  return kOk;
}

}  // namespace

int failover(int argc, char** argv) {
  std::string guest;
  bool force = false;
  CLI::App app("Moves a protected guest to the host that keeps its copy.",
               "xl remus-spec-failover");
  app.add_option("DOMAIN", guest, "name, id or uuid of the guest")->required();
  app.add_flag(
      "--force", force,
      "on the host that keeps the copy: start it, since the guest does not run on the other "
      "host and never will");
  if (const auto status = parse(app, argc, argv)) return *status;

  const auto p = xen::find_protection(guest);
  if (!p) throw Error(guest + " is not protected", "`xl remus-spec-list` lists what is");
  if (!p->alive)
    throw Error("the protection of " + p->name + " has died",
                "`xl remus-spec-stop " + p->name + "` puts it in order");
  if (p->role == "backup") {
    if (force) return start_kept_copy(*p);
    if (p->state == "primary-lost")
      throw Error("the primary of " + p->name + " is lost, and its copy here waits",
                  "look at " + p->peer + ": if " + p->name +
                      " does not run there and never will: xl remus-spec-failover --force " +
                      p->name);
    throw Error("this host keeps the copy; " + p->name + " runs on " + p->peer,
                "on " + p->peer + ": xl remus-spec-failover " + p->name);
  }
  if (force)
    throw UsageError{"--force is for the host that keeps a copy; " + p->name + " runs here",
                     "leave it out"};
  return hand_over(*p);
}

}  // namespace specrep::xl
