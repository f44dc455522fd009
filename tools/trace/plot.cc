// specrep-trace plot: one trace as a picture (SVG).

#include <algorithm>
#include <fstream>

#include "libspecrep/error.h"
#include "tools/svg.h"
#include "tools/trace/commands.h"
#include "tools/trace/replay_arguments.h"

namespace specrep::tools {
namespace {

struct Options {
  std::string trace, output;
  ReplayArguments replay;
};

using Series = Svg::Series;
using Point = Svg::Point;

Series over_time(const std::string& name, const std::string& color, const trace::Replayed& replayed,
                 double (*value)(const epoch::EpochReport&)) {
  Series series{name, color, {}};
  double seconds = 0;
  for (const auto& epoch : replayed.epochs) {
    seconds += milliseconds(replayed.epoch) / 1000;
    series.points.push_back({seconds, value(epoch)});
  }
  return series;
}

Point residual_against_waste(const trace::Replayed& replayed) {
  const epoch::Totals totals = trace::sum(replayed.epochs);
  const auto epochs = static_cast<double>(totals.epochs);
  return {static_cast<double>(totals.wasted_pages) / epochs,
          static_cast<double>(totals.residual_pages) / epochs};
}

void run(const Options& options) {
  trace::ReplayOptions replay = options.replay.options();
  const auto play = [&](const model::PolicyOptions& policy) {
    replay.policy = policy;
    return trace::replay(options.trace, replay);
  };
  const auto adaptive = play({});
  const auto bound = play({.kind = model::PolicyKind::kClairvoyant});
  const auto always = play({.kind = model::PolicyKind::kAlways});

  const auto residual = [](const epoch::EpochReport& e) {
    return static_cast<double>(e.residual_pages);
  };
  const auto waste = [](const epoch::EpochReport& e) {
    return static_cast<double>(e.wasted_pages);
  };
  const auto written = [](const epoch::EpochReport& e) {
    return static_cast<double>(e.written_pages);
  };
  const auto& header = adaptive.header;
  Svg svg;
  svg.title((header.label().empty() ? options.trace : header.label()) + ", epochs of " +
            std::to_string(static_cast<long>(milliseconds(adaptive.epoch))) + " ms");
  svg.chart({"Remus sends every page written in the epoch at its end",
             "seconds",
             "pages per epoch",
             {over_time("written (Remus's residual)", "#888888", adaptive, written),
              over_time("residual, adaptive", "#c03030", adaptive, residual)}});
  svg.chart({"What is left for the checkpoint, and what was sent in vain",
             "seconds",
             "pages per epoch",
             {over_time("residual, adaptive", "#c03030", adaptive, residual),
              over_time("wasted, adaptive", "#3060c0", adaptive, waste),
              over_time("residual, clairvoyant", "#30a050", bound, residual)}});

  Series curve{"adaptive, by its early threshold", "#c03030", {}};
  for (const float below : {0.01f, 0.02f, 0.05f, 0.1f, 0.2f, 0.3f, 0.5f, 0.7f, 0.9f})
    curve.points.push_back(residual_against_waste(play({.send_early_below = below})));
  std::sort(curve.points.begin(), curve.points.end(), [](Point a, Point b) { return a.x < b.x; });
  Series age{"age, of 4 to 1 samples", "#3060c0", {}};
  for (const unsigned samples : {4u, 3u, 2u, 1u})
    age.points.push_back(
        residual_against_waste(play({.kind = model::PolicyKind::kAge, .age_samples = samples})));
  svg.chart(
      {"Residual against waste",
       "pages sent in vain per epoch",
       "residual pages per epoch",
       {curve,
        age,
        {"clairvoyant (the bound)", "#30a050", {residual_against_waste(bound)}, Svg::Kind::kMarks},
        {"always", "#a07020", {residual_against_waste(always)}, Svg::Kind::kMarks}}});

  std::ofstream file(options.output);
  file << svg.file();
  file.close();
  if (!file) throw Error("cannot write " + options.output);
}

}  // namespace

void add_plot(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("plot", "draw a trace's residual and waste as SVG");
  command->add_option("TRACE", options->trace, "the trace")->required();
  command->add_option("-o,--output", options->output, "the picture")->required()->type_name("FILE");
  options->replay.add_to(*command);
  command->callback([options] { run(*options); });
}

}  // namespace specrep::tools
