// specrep-connect: joins its standard streams to a service of another host of the pool, and ends as
// that does, as ssh would: `xl remus-spec -s specrep-connect` uses it in the place of ssh.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>

#include "libspecrep/error.h"
#include "libspecrep/pool/config.h"
#include "libspecrep/pool/service_client.h"

namespace {

using namespace specrep;

constexpr int kNoConnection = 255;  // as ssh

// What xl remus-spec gives to ssh as a command, by the name of the service that is the same.
std::string service_of(const std::vector<std::string>& words) {
  std::string command;
  for (const std::string& word : words) command += (command.empty() ? "" : " ") + word;
  return command == "xl remus-spec-receive" ? "receive" : command;
}

// The host of the pool that goes by this name or address.
const pool::Host& find_host(const pool::Config& config, const std::string& name) {
  for (const pool::Host& host : config.hosts)
    if (name == host.name || name == host.management_address || name == host.replication_address)
      return host;
  throw Error(name + " is not a host of the pool " + config.name,
              "`specrep-pool status` lists them");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Joins stdin, stdout and stderr to a service of another host of the pool.",
               "specrep-connect");
  pool::ServiceRequest request;
  request.in = STDIN_FILENO;
  request.out = STDOUT_FILENO;
  request.err = dup(STDERR_FILENO);
  std::string name, config_path = pool::kConfigPath;
  std::vector<std::string> service;
  app.add_option("HOST", name, "a host of the pool, by name or address")->required();
  app.add_option("SERVICE", service, "receive or agent")->required();
  app.add_option("--port", request.port, "TCP port [" + std::to_string(request.port) + "]");
  app.add_option("--config", config_path, "the pool's hosts [" + config_path + "]")
      ->type_name("FILE");
  CLI11_PARSE(app, argc, argv);
  try {
    const pool::Config config = pool::parse_config(pool::load_text(config_path), config_path);
    const pool::Host& host = find_host(config, name);
    request.address = name == host.name ? host.management_address : name;
    request.service = service_of(service);
    request.is_expected = [&host](const std::string& who) { return who == host.name; };
    return pool::ask_service(std::move(request));
  } catch (const Error& error) {
    std::fprintf(stderr, "specrep-connect: %s\n", with_advice(error).c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "specrep-connect: internal error: %s\n", error.what());
  }
  return kNoConnection;
}
