// specrep-trace eval: what each policy would have sent of a trace.

#include <cstdio>
#include <nlohmann/json.hpp>

#include "libspecrep/error.h"
#include "tools/trace/commands.h"
#include "tools/trace/replay_arguments.h"

namespace specrep::tools {
namespace {

using nlohmann::json;

constexpr model::PolicyKind kAll[] = {model::PolicyKind::kRemus, model::PolicyKind::kAlways,
                                      model::PolicyKind::kAge, model::PolicyKind::kAdaptive,
                                      model::PolicyKind::kClairvoyant};

struct Options {
  std::vector<std::string> traces;
  std::vector<std::string> policies;
  ReplayArguments replay;
  double page_cost_us = 2;
  std::size_t cache_mib = 64;
  bool json = false;
};

struct Row {
  model::PolicyKind policy;
  epoch::Totals totals;
};

double per_epoch(std::uint64_t sum, const epoch::Totals& totals) {
  return static_cast<double>(sum) / static_cast<double>(totals.epochs);
}

double ratio(std::uint64_t a, std::uint64_t b) {
  return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
}

void print_table(const std::string& path, const trace::Replayed& replayed,
                 const std::vector<Row>& rows, const epoch::Totals& bound, const Options& options) {
  const auto& label = replayed.header.label();
  std::printf("%s%s%s\n%llu epochs of %.0f ms, %.0f pages written in each, %.0f MB/s\n\n",
              path.c_str(), label.empty() ? "" : ": ", label.c_str(),
              static_cast<unsigned long long>(rows[0].totals.epochs), milliseconds(replayed.epoch),
              per_epoch(rows[0].totals.written_pages, rows[0].totals),
              options.replay.bandwidth_mb_s);
  std::printf("%-12s %-17s %-17s %-15s %6s %8s\n", "", "residual/epoch", "speculative/epoch",
              "wasted/epoch", "total", "of the");
  std::printf("%-12s %6s %7s %2s %6s %8s %2s %6s %7s %7s %7s\n", "policy", "pages", "KB", "",
              "pages", "KB", "", "pages", "KB", "/remus", "bound");
  for (const Row& row : rows) {
    const auto& t = row.totals;
    const auto each = [&](std::uint64_t sum) { return per_epoch(sum, t); };
    std::printf("%-12s %6.0f %7.1f %2s %6.0f %8.1f %2s %6.0f %7.1f %7.3f %6.1f%%\n",
                model::to_string(row.policy), each(t.residual_pages), each(t.residual_bytes) / 1e3,
                "", each(t.speculative_pages), each(t.speculative_bytes) / 1e3, "",
                each(t.wasted_pages), each(t.wasted_bytes) / 1e3,
                ratio(t.total_bytes(), t.remus_bytes()),
                100 * ratio(bound.residual_pages, t.residual_pages));
  }
  std::printf("\nresidual bytes, times fewer than 4 KiB for each page written (Remus):\n");
  for (const Row& row : rows)
    std::printf("  %-12s %8.1f   residual pages %6.1f times fewer\n", model::to_string(row.policy),
                ratio(row.totals.remus_bytes(), row.totals.residual_bytes),
                ratio(row.totals.written_pages, row.totals.residual_pages));
  std::printf("\n");
}

json to_json(const std::string& path, const trace::Replayed& replayed, const Row& row,
             const epoch::Totals& bound, const Options& options) {
  const auto& t = row.totals;
  json codecs = json::object();
  for (std::size_t i = 0; i < wire::kPageEncodings; ++i)
    codecs[wire::encoding_name(i)] = {{"pages", t.codecs.pages[i]}, {"bytes", t.codecs.bytes[i]}};
  return {{"trace", path},
          {"label", replayed.header.label()},
          {"policy", model::to_string(row.policy)},
          {"epoch_ms", milliseconds(replayed.epoch)},
          {"bandwidth_mb_per_s", options.replay.bandwidth_mb_s},
          {"epochs", t.epochs},
          {"written_pages", t.written_pages},
          {"remus_bytes", t.remus_bytes()},
          {"residual_pages", t.residual_pages},
          {"residual_bytes", t.residual_bytes},
          {"speculative_pages", t.speculative_pages},
          {"speculative_bytes", t.speculative_bytes},
          {"wasted_pages", t.wasted_pages},
          {"wasted_bytes", t.wasted_bytes},
          {"total_bytes", t.total_bytes()},
          {"samples", t.samples},
          {"residual_bytes_reduction", ratio(t.remus_bytes(), t.residual_bytes)},
          {"residual_pages_reduction", ratio(t.written_pages, t.residual_pages)},
          {"total_share_of_remus", ratio(t.total_bytes(), t.remus_bytes())},
          {"share_of_bound", ratio(bound.residual_pages, t.residual_pages)},
          {"codecs", codecs}};
}

void run(const Options& options) {
  std::vector<model::PolicyKind> policies;
  for (const auto& name : options.policies) policies.push_back(model::policy_from_name(name));
  if (policies.empty()) policies.assign(std::begin(kAll), std::end(kAll));

  json all = json::array();
  for (const auto& path : options.traces) {
    trace::ReplayOptions replay = options.replay.options();
    replay.page_cost =
        std::chrono::nanoseconds(static_cast<std::int64_t>(options.page_cost_us * 1000));
    replay.delta_cache_pages = options.cache_mib * (1 << 20) / kPageBytes;

    // The bound is always needed, to say how far from it the others are.
    replay.policy.kind = model::PolicyKind::kClairvoyant;
    const trace::Replayed clairvoyant = trace::replay(path, replay);
    const epoch::Totals bound = trace::sum(clairvoyant.epochs);
    std::vector<Row> rows;
    for (const auto policy : policies) {
      replay.policy.kind = policy;
      rows.push_back({policy, policy == model::PolicyKind::kClairvoyant
                                  ? bound
                                  : trace::sum(trace::replay(path, replay).epochs)});
    }
    if (options.json)
      for (const Row& row : rows) all.push_back(to_json(path, clairvoyant, row, bound, options));
    else
      print_table(path, clairvoyant, rows, bound, options);
  }
  if (options.json) std::printf("%s\n", all.dump(2).c_str());
}

}  // namespace

void add_eval(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("eval", "compare what policies send, on the same writes");
  command->add_option("TRACE", options->traces, "traces to replay")->required();
  command
      ->add_option("--policy", options->policies,
                   "remus, always, age, adaptive or clairvoyant; again for more [all]")
      ->type_name("NAME");
  options->replay.add_to(*command);
  command->add_option("--page-cost", options->page_cost_us, "to copy, encode and queue a page [2]")
      ->type_name("US")
      ->check(CLI::Range(0.0, 1000.0));
  command->add_option("--delta-cache", options->cache_mib, "versions kept for deltas [64]")
      ->type_name("MIB")
      ->check(CLI::Range(0, 65536));
  command->add_flag("--json", options->json, "for programs");
  command->callback([options] { run(*options); });
}

}  // namespace specrep::tools
