// xl remus-spec-receive: what ssh runs on the backup. It becomes specrep-backup, whose standard
// input and output are then the control channel.

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <vector>

#include "libspecrep/error.h"
#include "xl-plugin/command.h"
#include "xl-plugin/paths.h"

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

}  // namespace

int receive(int argc, char** argv) {
  CLI::App app("Keeps a copy of a guest for another host. `xl remus-spec` runs this through ssh.",
               "xl remus-spec-receive");
  if (const auto status = parse(app, argc, argv)) return *status;
  if (isatty(STDIN_FILENO))
    throw UsageError{"this is run by `xl remus-spec` on the other host, not by hand",
                     "on the host where the guest runs: xl remus-spec DOMAIN HOST"};

  const std::string path = program_path("specrep-backup");
  const std::string address = server_address();
  std::vector<const char*> arguments = {path.c_str()};
  if (!address.empty()) arguments.insert(arguments.end(), {"--address", address.c_str()});
  arguments.push_back(nullptr);
  execv(path.c_str(), const_cast<char* const*>(arguments.data()));
  throw Error("cannot run " + path + ": " + std::strerror(errno),
              "is specrep installed completely? (make install)");
}

}  // namespace specrep::xl
