// specrep-listener: through it the other hosts of the pool reach specrep on this one, instead of
// through ssh. A daemon, for systemd (specrep-listener.service) or, with a supervisor of another
// kind, in the foreground. It logs to stderr.
//
// It can be stopped and started at any time: the connections that stand are processes of their own
// and stay. So the unit has KillMode=process.

#include <signal.h>

#include <CLI/CLI.hpp>

#include "libspecrep/error.h"
#include "libspecrep/pool/config.h"
#include "libspecrep/pool/service_listener.h"
#include "tools/log.h"
#include "tools/service_manager.h"

namespace {

using namespace specrep;

constexpr const char* kAgentSocket = "/run/specrep/agent.sock";

int run(pool::ServiceListener::Options options) {
  const sigset_t unblocked = tools::hold_stop_signals();
  tools::ServiceManager manager;
  pool::ServiceListener listener(std::move(options));
  const std::string port = std::to_string(listener.port());
  spdlog::info("listening on port {}", port);
  manager.ready("listening on port " + port);
  while (!tools::stop_asked) {
    listener.serve(manager.beat_interval(), unblocked);
    manager.beat();
  }
  manager.stopping();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Lets the other hosts of the pool reach specrep on this one.", "specrep-listener");
  pool::ServiceListener::Options options;
  std::string config = pool::kConfigPath;
  app.add_option("--address", options.addresses,
                 "listen only here, may be given again [everywhere]")
      ->type_name("ADDRESS");
  app.add_option("--port", options.port, "TCP port [" + std::to_string(options.port) + "]");
  app.add_option("--config", config, "the pool's hosts [" + config + "]")->type_name("FILE");
  CLI11_PARSE(app, argc, argv);
  tools::log_to_stderr();
  options.is_member = [config](const std::string& host) {
    return pool::parse_config(pool::load_text(config), config).find_host(host) != nullptr;
  };
  options.services = {
      {"receive", {{SPECREP_EXEC_FOLDER "/xl-specrep", "remus-spec-receive"}, {}}},
      {"agent", {{}, kAgentSocket}},
      {"renew", {{SPECREP_SBIN_FOLDER "/specrep-pool", "admit"}, {}}},
  };
  try {
    return run(std::move(options));
  } catch (const Error& error) {
    spdlog::error("{}", with_advice(error));
  } catch (const std::exception& error) {
    spdlog::error("internal error: {}", error.what());
  }
  return 1;
}
