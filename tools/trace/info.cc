// specrep-trace info: what is in a trace, and how well it was taken.

#include <algorithm>
#include <bit>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libspecrep/error.h"
#include "libspecrep/trace/trace.h"
#include "tools/printable.h"
#include "tools/table.h"
#include "tools/trace/commands.h"

namespace specrep::tools {

namespace {

using nlohmann::json;

// Pages by how many of their lines changed. Each includes the ones before.
struct Changes {
  std::uint64_t samples = 0, pages = 0;
  std::uint64_t unchanged = 0, one = 0, four = 0, sixteen = 0, zero = 0, packed_units = 0;

  void add(const trace::Sample& sample) {
    ++samples;
    pages += sample.pages.size();
    for (const trace::PageWrite& page : sample.pages) {
      const int lines = std::popcount(page.lines);
      unchanged += lines == 0;
      one += lines <= 1;
      four += lines <= 4;
      sixteen += lines <= 16;
      if (page.packed == trace::kZeroPage)
        ++zero;
      else
        packed_units += page.packed;
    }
  }
  double per_sample(std::uint64_t n) const {
    return samples == 0 ? 0 : double(n) / double(samples);
  }
  double share(std::uint64_t n) const { return pages == 0 ? 0 : double(n) / double(pages); }
  double packed_bytes() const { return share(packed_units) * trace::kPackedUnitBytes; }
};

struct Spread {
  double mean = 0, p50 = 0, p99 = 0, max = 0;
};

Spread spread_of(std::vector<std::int64_t>& values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  double sum = 0;
  for (const auto value : values) sum += double(value);
  const auto at = [&](double share) {
    return double(values[static_cast<std::size_t>(share * double(values.size() - 1))]);
  };
  return {sum / double(values.size()), at(0.5), at(0.99), double(values.back())};
}

struct Info {
  trace::TraceHeader header;
  std::uint64_t file_bytes = 0;
  std::uint64_t length_us = 0;
  std::uint64_t epochs = 0;
  double pages_per_epoch = 0;          // each page once
  double changed_pages_per_epoch = 0;  // of those, written with a change at any sample
  Changes all;
  std::vector<std::uint64_t> grid;
  std::vector<Changes> by_grid;
  Spread late_us;  // when a sample was taken after it was due, in the guest's time
  Spread off_us;   // how far the time between two samples was from what it should be
  Spread cost_us;
};

// What a trace's epochs hold of distinct pages, one epoch after the other.
class EpochPages {
 public:
  void add(const trace::Sample& sample) {
    for (const trace::PageWrite& page : sample.pages)
      writes_.push_back(page.gfn * 2 + (page.lines != 0));
  }
  void end() {
    std::sort(writes_.begin(), writes_.end());
    for (std::size_t i = 0; i < writes_.size(); ++i) {
      const bool last_of_page = i + 1 == writes_.size() || writes_[i + 1] / 2 != writes_[i] / 2;
      pages += last_of_page;
      changed += last_of_page && writes_[i] % 2;
    }
    writes_.clear();
  }
  std::uint64_t pages = 0, changed = 0;

 private:
  std::vector<std::uint64_t> writes_;
};

Info read_info(const std::string& path) {
  trace::Reader reader(path);
  Info info;
  info.header = reader.header();
  info.file_bytes = reader.file_bytes();
  info.grid = trace::grid_us(info.header.epoch_ms(), info.header.finest_us());
  info.by_grid.resize(info.grid.size());
  std::vector<std::int64_t> late, off, cost;
  EpochPages epoch_pages;
  const std::uint64_t epoch_us = info.grid.back();
  std::uint64_t ran_us = 0;
  trace::Sample sample;
  while (reader.next(sample)) {
    info.all.add(sample);
    const std::uint64_t in_epoch = sample.time_us == 0 ? 0 : (sample.time_us - 1) % epoch_us + 1;
    const auto at = std::lower_bound(info.grid.begin(), info.grid.end(), in_epoch);
    if (at != info.grid.end() && *at == in_epoch)
      info.by_grid[static_cast<std::size_t>(at - info.grid.begin())].add(sample);
    epoch_pages.add(sample);
    if (in_epoch == epoch_us) {
      epoch_pages.end();
      ++info.epochs;
    }
    ran_us += sample.ran_us;
    late.push_back(static_cast<std::int64_t>(ran_us - sample.time_us));
    off.push_back(std::abs(static_cast<std::int64_t>(sample.ran_us) -
                           static_cast<std::int64_t>(sample.time_us - info.length_us)));
    cost.push_back(sample.cost_us);
    info.length_us = sample.time_us;
  }
  if (info.epochs != 0) {
    info.pages_per_epoch = double(epoch_pages.pages) / double(info.epochs);
    info.changed_pages_per_epoch = double(epoch_pages.changed) / double(info.epochs);
  }
  info.late_us = spread_of(late);
  info.off_us = spread_of(off);
  info.cost_us = spread_of(cost);
  return info;
}

std::string kind_name(const trace::TraceHeader& header) {
  switch (header.kind()) {
    case wire::PVH:
      return "PVH";
    case wire::HVM:
      return "HVM";
    case wire::HVM_PV_DRIVERS:
      return "HVM with PV drivers";
    default:
      return "unknown kind";
  }
}

json to_json(const Spread& spread) {
  return {{"mean", spread.mean}, {"p50", spread.p50}, {"p99", spread.p99}, {"max", spread.max}};
}

json to_json(const Changes& changes) {
  return {{"samples", changes.samples},
          {"pages", changes.pages},
          {"pages_per_sample", changes.per_sample(changes.pages)},
          {"share_unchanged", changes.share(changes.unchanged)},
          {"share_1_line", changes.share(changes.one)},
          {"share_4_lines", changes.share(changes.four)},
          {"share_16_lines", changes.share(changes.sixteen)},
          {"share_zero", changes.share(changes.zero)},
          {"packed_bytes_per_page", changes.packed_bytes()}};
}

json to_json(const std::string& path, const Info& info) {
  json grid = json::array();
  for (std::size_t i = 0; i < info.grid.size(); ++i) {
    json entry = to_json(info.by_grid[i]);
    entry["before_end_us"] = info.grid.back() - info.grid[i];
    grid.push_back(std::move(entry));
  }
  const auto& header = info.header;
  return {{"file", path},
          {"guest", header.guest_name()},
          {"kind", kind_name(header)},
          {"memory_kib", header.memory_kib()},
          {"gfn_count", header.gfn_count()},
          {"label", header.label()},
          {"note", header.note()},
          {"software", header.software()},
          {"started_unix_s", header.started_unix_s()},
          {"virtual_time", header.virtual_time()},
          {"epoch_ms", header.epoch_ms()},
          {"finest_us", header.finest_us()},
          {"length_s", double(info.length_us) / 1e6},
          {"epochs", info.epochs},
          {"pages_per_epoch", info.pages_per_epoch},
          {"changed_pages_per_epoch", info.changed_pages_per_epoch},
          {"writes", to_json(info.all)},
          {"grid", std::move(grid)},
          {"late_us", to_json(info.late_us)},
          {"interval_error_us", to_json(info.off_us)},
          {"cost_us", to_json(info.cost_us)},
          {"file_bytes", info.file_bytes},
          {"bytes_per_record", info.all.share(info.file_bytes)}};
}

std::string number(double value, const char* unit = "", int decimals = 1) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f%s", decimals, value, unit);
  return text;
}

std::string percent(double share) { return number(share * 100, " %", 0); }

std::string spread_text(const Spread& spread) {
  return "mean " + number(spread.mean, "", 0) + ", median " + number(spread.p50, "", 0) +
         ", 99 % below " + number(spread.p99, "", 0) + ", at most " + number(spread.max, " us", 0);
}

std::string utc(std::uint64_t unix_s) {
  const auto time = static_cast<std::time_t>(unix_s);
  std::tm parts{};
  char text[32];
  if (!gmtime_r(&time, &parts) || !std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts))
    return std::to_string(unix_s);
  return text;
}

void print(const std::string& path, const Info& info) {
  const auto& header = info.header;
  const Changes& all = info.all;
  Table facts({{"trace"}, {printable(path)}});
  facts.add({"guest", header.guest_name() + ", " + kind_name(header) + ", " +
                          std::to_string(header.memory_kib() / 1024) + " MiB"});
  facts.add({"workload", header.label().empty() ? "-" : header.label()});
  facts.add({"recorded", utc(header.started_unix_s()) + " by " + header.software() +
                             (header.virtual_time() ? ", in an emulator's virtual time" : "")});
  if (!header.note().empty()) facts.add({"note", header.note()});
  facts.add({"length", number(double(info.length_us) / 1e6, " s of guest time, ", 3) +
                           std::to_string(info.epochs) + " whole epochs of " +
                           std::to_string(header.epoch_ms()) + " ms, " +
                           std::to_string(all.samples) + " samples"});
  facts.add({"pages", number(all.per_sample(all.pages)) + " a sample, " +
                          number(info.pages_per_epoch) + " an epoch, " +
                          number(info.changed_pages_per_epoch) + " of them changed"});
  facts.add({"late", spread_text(info.late_us)});
  facts.add({"interval off", spread_text(info.off_us)});
  facts.add({"log cleaned in", spread_text(info.cost_us)});
  facts.add({"file", std::to_string(info.file_bytes) + " bytes, " +
                         number(all.share(info.file_bytes), " a record", 2)});
  std::cout << facts.text() << "\n";

  Table table({{"MS BEFORE END", true},
               {"SAMPLES", true},
               {"PAGES", true},
               {"SAME", true},
               {"<=1", true},
               {"<=4", true},
               {"<=16", true},
               {"ZERO", true},
               {"PACKED", true}});
  const auto add = [&](const std::string& name, const Changes& changes) {
    table.add({name, std::to_string(changes.samples), number(changes.per_sample(changes.pages)),
               percent(changes.share(changes.unchanged)), percent(changes.share(changes.one)),
               percent(changes.share(changes.four)), percent(changes.share(changes.sixteen)),
               percent(changes.share(changes.zero)), number(changes.packed_bytes(), " B", 0)});
  };
  for (std::size_t i = 0; i < info.grid.size(); ++i)
    add(number(double(info.grid.back() - info.grid[i]) / 1000), info.by_grid[i]);
  add("all", all);
  std::cout << table.text()
            << "PAGES: a sample. SAME to ZERO: the share of pages with no line changed, at\n"
               "most 1, 4 and 16, and that are all zero. PACKED: bytes a page.\n";
}

void info(const std::vector<std::string>& files, bool as_json) {
  json all = json::array();
  for (const std::string& file : files) {
    const Info info = read_info(file);
    if (as_json) {
      all.push_back(to_json(file, info));
    } else {
      if (&file != &files.front()) std::cout << "\n";
      print(file, info);
    }
  }
  if (as_json) std::cout << all.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
}

}  // namespace

void add_info(CLI::App& app) {
  struct Options {
    std::vector<std::string> files;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  auto* command =
      app.add_subcommand("info", "Says what is in traces, and how well they were taken.");
  command->add_option("FILE", options->files, "traces")->required();
  command->add_flag("--json", options->json, "as JSON, an array with an entry for each file");
  command->callback([options] { info(options->files, options->json); });
}

}  // namespace specrep::tools
