// xl remus-spec-receive: what ssh runs on the backup. It becomes specrep-backup, whose standard
// input and output are then the control channel.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <vector>

#include "libspecrep/memory_shortage.h"
#include "libspecrep/xen/recover.h"
#include "libspecrep/xen/registry.h"
#include "xl-plugin/command.h"
#include "xl-plugin/far_failure.h"
#include "xl-plugin/paths.h"
#include "xl-plugin/process.h"

namespace specrep::xl {

namespace {

// The address at which this host was reached: the third word of "CLIENT PORT SERVER PORT".
std::string server_address() {
  const char* connection = std::getenv("SSH_CONNECTION");
  std::istringstream words(connection ? connection : "");
  std::string client, client_port, server;
  words >> client >> client_port >> server;
  return server;
}

// The control channel is specrep-backup's alone: ssh goes by who still has it open.
void let_go_of_ssh() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
  setsid();
}

// Returns whether one died while it activated its copy, which may run.
bool clear_up_after_death() {
  bool activating = false;
  for (const xen::Protection& p : xen::list_protections()) {
    if (p.role != "backup" || p.alive) continue;
    activating |= p.state == "activating";
    xen::discard_leftover_copy(p);
    xen::remove_stale(p);
  }
  return activating;
}

}  // namespace

int receive(int argc, char** argv) {
  CLI::App app("Keeps a copy of a guest for another host. `xl remus-spec` runs this through ssh.",
               "xl remus-spec-receive");
  if (const auto status = parse(app, argc, argv)) return *status;
  if (isatty(STDIN_FILENO))
    throw UsageError{"this is run by `xl remus-spec` on the other host, not by hand",
                     "on the host where the guest runs: xl remus-spec DOMAIN HOST"};

  outlive_memory_shortage();
  std::vector<std::string> arguments = {program_path("specrep-backup")};
  const std::string address = server_address();
  if (!address.empty()) arguments.insert(arguments.end(), {"--address", address});
  Process::Options options;
  options.in = STDIN_FILENO;
  options.ignores_interrupts = true;
  Process backup(arguments, options);
  // The end of the session must not end the copy: that is when it is needed.
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE}) signal(number, SIG_IGN);
  let_go_of_ssh();

  std::optional<int> status;
  while (!status) status = backup.wait(std::chrono::hours(1));
  if (WIFEXITED(*status)) return WEXITSTATUS(*status) == 0 ? kOk : kEndedWithoutCopy;
  return clear_up_after_death() ? kDiedActivating : kEndedWithoutCopy;
}

}  // namespace specrep::xl
