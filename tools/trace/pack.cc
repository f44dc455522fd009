// specrep-trace pack: a trace as small as it gets, for keeping.

#include "libspecrep/error.h"
#include "libspecrep/trace/trace.h"
#include "tools/trace/commands.h"

namespace specrep::tools {
namespace {

struct Options {
  std::string trace, output;
  std::uint64_t epochs = 0;
};

void run(const Options& options) {
  if (options.trace == options.output)
    throw Error("the packed trace would replace " + options.trace, "give another name with -o");
  trace::Reader reader(options.trace);
  trace::Writer writer(options.output, reader.header(), trace::Packing::kSmall);
  const std::uint64_t end_us = options.epochs * reader.header().epoch_ms() * 1000;
  for (trace::Sample sample; reader.next(sample);) {
    if (end_us != 0 && sample.time_us > end_us) break;
    writer.append(sample);
  }
  writer.finish();
}

}  // namespace

void add_pack(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command =
      app.add_subcommand("pack", "make a trace smaller, for keeping; recording packs it in haste");
  command->add_option("TRACE", options->trace, "the trace")->required();
  command->add_option("-o,--output", options->output, "the packed trace")
      ->required()
      ->type_name("FILE");
  command->add_option("--epochs", options->epochs, "keep so many epochs from its start [all]")
      ->type_name("N");
  command->callback([options] { run(*options); });
}

}  // namespace specrep::tools
