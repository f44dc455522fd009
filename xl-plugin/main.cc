// xl-specrep: what the front end named xl runs for `xl remus-spec...`, with all of xl's arguments.

#include <cstring>
#include <exception>
#include <iostream>

#include "libspecrep/error.h"
#include "xl-plugin/command.h"
#include "xl-plugin/console.h"
#include "xl-plugin/far_side.h"

namespace specrep::xl {

namespace {

struct Command {
  const char* name;
  int (*run)(int argc, char** argv);
};
constexpr Command kCommands[] = {
    {"remus-spec", protect},       {"remus-spec-receive", receive},
    {"remus-spec-list", list},     {"remus-spec-stop", stop},
    {"remus-spec-check", check},   {"remus-spec-failover", failover},
    {"remus-spec-resync", resync}, {"remus-spec-top", top},
};

int run(const Command& command, int argc, char** argv) {
  Console console(command.name, false);
  try {
    return command.run(argc, argv);
  } catch (const UsageError& error) {
    console.error(error.what, error.advice);
    return kUsage;
  } catch (const Interrupted& interrupted) {
    console.error("interrupted; nothing was changed");
    return 128 + interrupted.signal;
  } catch (const Error& error) {
    console.error(error.what(), error.advice());
  } catch (const std::exception& error) {
    console.error(std::string("unexpected: ") + error.what(), "please report this");
  }
  return kFailed;
}

}  // namespace

std::optional<int> parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return kOk;
  } catch (const CLI::ParseError& error) {
    throw UsageError{error.what(), "`xl " + std::string(argv[0]) + " -h` shows how it is used"};
  }
}

}  // namespace specrep::xl

int main(int argc, char** argv) {
  using namespace specrep::xl;
  // xl's global options: -v, -t, -T and -f mean nothing here; -N is refused as xl refuses it.
  int at = 1;
  bool dry_run = false;
  for (; at < argc && argv[at][0] == '-'; ++at) dry_run |= std::strchr(argv[at], 'N') != nullptr;
  if (at < argc && std::strcmp(argv[at], "help") == 0 && at + 1 < argc) {
    static char option[] = "--help";
    argv[at] = argv[at + 1];
    argv[at + 1] = option;
    argc = at + 2;
  }
  for (const Command& command : kCommands) {
    if (at >= argc || std::strcmp(argv[at], command.name) != 0) continue;
    if (dry_run) {
      Console(command.name, false).error("this command has no dry run (-N)");
      return kUsage;
    }
    return run(command, argc - at, argv + at);
  }
  std::cerr << "xl: " << (at < argc ? argv[at] : "no command") << ": no such command of specrep\n"
            << "  `xl help` lists what there is\n";
  return kUsage;
}
