// Records what guests write to their memory, and works on what was recorded.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "libspecrep/error.h"
#include "tools/trace/commands.h"
#include "trace.pb.h"

int main(int argc, char** argv) {
  CLI::App app("Records how a guest writes to its memory, and works on such traces.",
               "specrep-trace");
  app.require_subcommand(1);
#ifdef SPECREP_WITH_XEN
  specrep::tools::add_record(app);
#endif
  specrep::tools::add_info(app);
  specrep::tools::add_eval(app);
  specrep::tools::add_plot(app);
  specrep::tools::add_pack(app);

  GOOGLE_PROTOBUF_VERIFY_VERSION;
  int status = 1;
  try {
    app.parse(argc, argv);
    status = 0;
  } catch (const CLI::ParseError& error) {
    status = app.exit(error) == 0 ? 0 : 2;
  } catch (const specrep::Error& error) {
    std::cerr << "specrep-trace: " << error.what() << "\n";
    if (!error.advice().empty()) std::cerr << "  " << error.advice() << "\n";
  } catch (const std::exception& error) {
    std::cerr << "specrep-trace: internal error: " << error.what() << "\n";
  }
  std::cout.flush();
  std::fflush(nullptr);
  // Not through static destructors: the signal thread of `record` may still run.
  _exit(status);
}
