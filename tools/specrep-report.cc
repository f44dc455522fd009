// specrep-report: a guest's protection over time, as one HTML file.

#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fstream>
#include <iostream>

#include "libspecrep/error.h"
#include "tools/event_log.h"
#include "tools/report/history.h"

namespace {

using namespace specrep;

struct Options {
  std::string guest, output;
  std::vector<std::string> inputs;
};

// The guest's logs of this host, the older one first.
std::vector<std::string> logs_of(const std::string& guest) {
  const std::string log = tools::event_log_path(guest).string();
  if (access(log.c_str(), R_OK) != 0)
    throw Error(errno_text("cannot read " + log),
                errno == EACCES ? "run this as root"
                                : "was " + guest +
                                      " ever protected on this host, or by it? --input names "
                                      "another log");
  if (access((log + ".1").c_str(), R_OK) == 0) return {log + ".1", log};
  return {log};
}

void run(const Options& options) {
  tools::ReadLog all;
  const auto files = options.inputs.empty() ? logs_of(options.guest) : options.inputs;
  for (const std::string& file : files) {
    tools::ReadLog log = tools::read_event_log(file);
    std::move(log.events.begin(), log.events.end(), std::back_inserter(all.events));
    all.bad_lines += log.bad_lines;
  }
  if (all.events.empty())
    throw Error("there is no event in " + files.back(),
                "it takes the log that specrep keeps of a guest, " +
                    tools::event_log_path(options.guest).string());
  std::string names = files.front();
  for (std::size_t i = 1; i < files.size(); ++i) names += ", " + files[i];
  const std::string page = tools::report::page(tools::report::history_of(all.events), options.guest,
                                               names, all.bad_lines);
  if (options.output == "-") {
    std::cout << page << std::flush;
    if (!std::cout) throw Error("cannot write to standard output");
    return;
  }
  std::ofstream file(options.output);
  file << page;
  file.close();
  if (!file) throw Error(errno_text("cannot write " + options.output));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Makes a report of a guest's protection over time: one HTML file with plots.");
  Options options;
  app.add_option("NAME", options.guest, "the guest")->required();
  app.add_option("-o,--output", options.output, "the report; -: standard output")
      ->required()
      ->type_name("FILE");
  app.add_option("-i,--input", options.inputs,
                 "an event log instead of those of this host; several in their order in time")
      ->type_name("FILE");
  try {
    app.parse(argc, argv);
    run(options);
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const Error& error) {
    std::cerr << "specrep-report: " << error.what() << "\n";
    if (!error.advice().empty()) std::cerr << "  " << error.advice() << "\n";
  } catch (const std::exception& error) {
    std::cerr << "specrep-report: internal error: " << error.what() << "\n";
  }
  return 1;
}
