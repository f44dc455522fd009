// specrep-pool: makes hosts a pool, says what is wanted for its guests, and shows what is.

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "libspecrep/error.h"
#include "tools/pool/commands.h"

namespace {

using namespace specrep;
using namespace specrep::tools;

// As xl-plugin/paths.h says.
std::string program_path(const std::string& name) {
  const char* folder = std::getenv("SPECREP_LIBEXEC");
  return std::string(folder && *folder ? folder : SPECREP_EXEC_FOLDER) + "/" + name;
}

struct Options {
  PoolPlaces places;
  HostOptions host;
  std::string name;                     // of a pool, host or guest
  std::vector<std::string> parameters;  // KEY=VALUE
  std::string file;
  bool json = false, force = false, forget = false, by_ssh = false;
};

void add_host_options(CLI::App& command, HostOptions& host) {
  command.add_option("--name", host.name, "this host's name in the pool [its own]")
      ->type_name("NAME");
  command
      .add_option("--address", host.address,
                  "where the other hosts reach this one [as the routes say]")
      ->type_name("ADDRESS");
  command
      .add_option("--replication-address", host.replication_address,
                  "where they send copies of guests [the same]")
      ->type_name("ADDRESS");
  command.add_option("--memory", host.memory_mib, "what this host has for guests [as xl says]")
      ->type_name("MIB");
}

void add_json(CLI::App& command, Options& options) {
  command.add_flag("--json", options.json, "everything that is known, as JSON");
}

int run(int argc, char** argv) {
  CLI::App app("Makes Xen hosts a pool that keeps its guests running.", "specrep-pool");
  app.require_subcommand(1);
  Options options;
  PoolPlaces& places = options.places;
  places.agents.connect = program_path("specrep-connect");
  // Not shown: for tests.
  app.add_option("--config", places.config)->group("");
  app.add_option("--tls-folder", places.tls_folder)->group("");
  app.add_option("--agent-socket", places.agents.socket)->group("");
  app.add_option("--connect", places.agents.connect)->group("");
  int status = 0;

  const auto add = [&](const char* name, const char* what, auto work) -> CLI::App& {
    CLI::App& command = *app.add_subcommand(name, what);
    command.callback([&status, work] {
      status = 0;
      if constexpr (std::is_void_v<decltype(work())>)
        work();
      else
        status = work();
    });
    return command;
  };

  CLI::App& init = add("init", "makes a pool with this host as its coordinator",
                       [&] { init_pool(places, options.name, options.host); });
  init.add_option("POOL", options.name, "the pool's name")->required();
  add_host_options(init, options.host);

  CLI::App& join = add("join", "takes this host into the pool of another, over ssh",
                       [&] { join_pool(places, options.name, options.host); });
  join.add_option("HOST", options.name, "the pool's coordinator, as ssh knows it")->required();
  join.add_option("-s,--ssh", places.ssh, "run this through sh instead of ssh")
      ->type_name("COMMAND");
  add_host_options(join, options.host);

  add("eject", "takes another host out of the pool", [&] { eject(places, options.name); })
      .add_option("HOST", options.name, "its name")
      ->required();

  add_json(
      add("status", "shows hosts and guests", [&] { return show_status(places, options.json); }),
      options);
  add_json(add("plan", "shows what happens when hosts are lost, and whether memory suffices",
               [&] { return show_plan(places, options.json); }),
           options);
  add("validate", "shows every mistake in a pool.conf", [&] {
    return validate(options.file.empty() ? places.config : options.file);
  }).add_option("FILE", options.file, "[" + std::string(pool::kConfigPath) + "]");

  const auto with_guest = [&](CLI::App& command) -> CLI::App& {
    command.add_option("GUEST", options.name, "its name")->required();
    return command;
  };
  with_guest(add("vm-protect", "protects a guest", [&] {
    protect(places, options.name, options.parameters);
  })).add_option("KEY=VALUE", options.parameters, "of its section in pool.conf");
  with_guest(add("vm-unprotect", "leaves a guest to itself; it runs on", [&] {
    unprotect(places, options.name, options.forget);
  })).add_flag("--forget", options.forget, "take it out of pool.conf");
  with_guest(add("vm-param-set", "changes what is wanted for a guest",
                 [&] { set_parameters(places, options.name, options.parameters); }))
      .add_option("KEY=VALUE", options.parameters, "of its section in pool.conf; KEY= takes it out")
      ->required();
  add("ha-enable", "lets the agents protect and start guests", [&] {
    enable_ha(places, options.parameters);
  }).add_option("KEY=VALUE", options.parameters, "of section [ha], such as arbiter=etcd:...");
  add("ha-disable", "leaves guests as they are", [&] { disable_ha(places); });

  CLI::App& renew_command = add("renew", "renews this host's certificate before it ends",
                                [&] { renew(places, options.force, options.by_ssh); });
  renew_command.add_flag("--force", options.force, "now");
  renew_command
      .add_option_function<std::string>(
          "-s,--ssh",
          [&](const std::string& command) {
            places.ssh = command;
            options.by_ssh = true;
          },
          "ask the coordinator by ssh, run through sh, as when the certificate has ended")
      ->type_name("COMMAND");
  add("admit", "", [&] { admit(places); }).group("");

  try {
    app.parse(argc, argv);
    return status;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // an agent may end while it is asked
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    std::cerr << "specrep-pool: " << error.what() << "\n";
    if (!error.advice().empty()) std::cerr << "  " << error.advice() << "\n";
  } catch (const std::exception& error) {
    std::cerr << "specrep-pool: " << error.what() << "\n";
  }
  return 1;
}
