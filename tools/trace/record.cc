// specrep-trace record: what a guest of this host writes, into a file.

#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "libspecrep/error.h"
#include "libspecrep/trace/recorder.h"
#include "libspecrep/xen/registry.h"
#include "libspecrep/xen/xen_guest.h"
#include "tools/signals.h"
#include "tools/trace/commands.h"
#include "tools/trace/rescuer.h"

namespace specrep::tools {

namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct RecordOptions {
  std::string domain;
  std::string file;
  std::string label;
  std::uint32_t epoch_ms = 100;
  std::uint64_t epochs = 200;
  std::uint32_t finest_us = 1000;
  bool virtual_time = false;
  bool json = false;
};

// How long a sleep may keep a request to stop waiting.
constexpr Duration kSleepMax = 200ms;

void sleep_until(TimePoint due, const SteadyClock& clock) {
  const Duration at = std::min(due, clock.now() + kSleepMax).time_since_epoch();
  // std::chrono::steady_clock is CLOCK_MONOTONIC. A sleep that a signal cuts short is no harm.
  const timespec until{static_cast<time_t>(at / 1s), static_cast<long>((at % 1s).count())};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

// To be woken when the time has come, not 50 us later or when others have finished. Not vital.
void wake_promptly() {
  prctl(PR_SET_TIMERSLACK, 1);
  const sched_param priority{.sched_priority = 1};
  sched_setscheduler(0, SCHED_FIFO, &priority);
}

// Xen says whether the log is on only by refusing to turn it on. A device model has it on for the
// guest's screen: there it says nothing.
void check_log_unused(const xen::Xenctrl& xc, const xen::Domain& domain) {
  if (domain.kind != wire::PVH) return;
  if (xc_shadow_control(xc.get(), domain.domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, nullptr, 0) <
      0) {
    if (errno != EINVAL)
      throw Error(errno_text("cannot turn on log-dirty mode for guest " + domain.name));
    throw Error("somebody else logs what guest " + domain.name + " writes",
                "wait until its migration is over; if there is none, one that died has left the "
                "log on: `xl remus-spec-stop --force " +
                    domain.name + "` turns it off");
  }
  xc_shadow_control(xc.get(), domain.domid, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0);
}

std::uint64_t memory_kib(const xen::Xenctrl& xc, std::uint32_t domid) {
  xc_domaininfo_t info;
  if (xc_domain_getinfolist(xc.get(), domid, 1, &info) != 1 || info.domain != domid) return 0;
  return info.tot_pages * (kPageBytes / 1024);
}

// One line on stderr: redrawn on a terminal, elsewhere a line each ten per cent.
class Progress {
 public:
  void show(const char* what, std::uint64_t done, std::uint64_t total, std::uint64_t pages) {
    const bool terminal = isatty(STDERR_FILENO);
    const std::uint64_t tenths = total == 0 ? 10 : done * 10 / total;
    const auto now = std::chrono::steady_clock::now();
    const bool another = what != what_;
    if (!another && done < total && (terminal ? now - shown_ < 500ms : tenths == tenths_)) return;
    what_ = what;
    tenths_ = tenths;
    shown_ = now;
    std::string line =
        std::string(what) + " " + std::to_string(done) + " of " + std::to_string(total);
    if (pages) line += ", " + std::to_string(pages) + " pages written";
    std::fprintf(stderr, terminal ? "\r%-70s" : "%s\n", line.c_str());
    on_line_ = terminal;
  }
  ~Progress() {
    if (on_line_) std::fputc('\n', stderr);
  }

 private:
  const char* what_ = nullptr;
  std::uint64_t tenths_ = 0;
  std::chrono::steady_clock::time_point shown_;
  bool on_line_ = false;
};

struct Costs {
  std::uint64_t samples = 0, pages = 0;
  Duration cleaning{}, comparing{};
};

// Until all epochs are recorded or a signal comes. The file is complete after an error, too,
// with what there was until then.
Costs record_into(trace::Writer& writer, guest::Guest& guest, const xen::Xenctrl& xc,
                  std::uint32_t domid, const RecordOptions& options, Rescuer& rescuer,
                  const StopSignals& signals) {
  const SteadyClock clock;
  Progress progress;
  Costs costs;
  auto& owed = rescuer.owed();
  owed.domid = domid;

  std::unique_ptr<trace::Recorder> recorder;
  trace::Recorder::Hooks hooks;
  hooks.pause = [&] {
    owed.paused = true;
    if (xc_domain_pause(xc.get(), domid) == 0) return;
    owed.paused = false;
    throw Error(errno_text("cannot pause guest " + options.domain));
  };
  hooks.unpause = [&] {
    if (xc_domain_unpause(xc.get(), domid))
      throw Error(errno_text("cannot unpause guest " + options.domain));
    owed.paused = false;
  };
  hooks.on_sample = [&](const trace::Sample& sample) {
    writer.append(sample);
    costs.cleaning += recorder->cleaning();
    costs.comparing += recorder->comparing();
    costs.samples = recorder->samples();
    costs.pages = recorder->pages_written();
    progress.show("epoch", recorder->epochs(), options.epochs, costs.pages);
  };

  try {
    owed.logging = true;
    recorder = std::make_unique<trace::Recorder>(
        guest, clock, std::move(hooks),
        trace::RecorderOptions{.epoch_ms = options.epoch_ms, .finest_us = options.finest_us});
    bool prompt = false;
    while (!signals.requested() && recorder->epochs() < options.epochs) {
      const bool reading = recorder->pages_read() < recorder->pages_total();
      if (reading)
        progress.show("reading memory: page", recorder->pages_read(), recorder->pages_total(), 0);
      else if (!prompt)
        wake_promptly(), prompt = true;
      const TimePoint due = recorder->step();
      if (!reading && recorder->epochs() < options.epochs) sleep_until(due, clock);
    }
  } catch (...) {
    recorder.reset();
    owed.logging = false;
    try {
      writer.finish();
    } catch (const Error&) {  // the first error is the one to tell
    }
    throw;
  }
  recorder.reset();
  owed.logging = false;
  writer.finish();
  return costs;
}

void record(const RecordOptions& options) {
  // In this order: no thread before the fork, no handle of Xen's either.
  Rescuer rescuer;
  auto& signals = *new StopSignals;  // its thread may outlive everything here

  const xen::Xenctrl xc;
  const xen::Domain domain = xen::find_domain(xen::Libxl(), xc, options.domain);
  xen::XenGuest guest(domain);
  trace::grid_us(options.epoch_ms, options.finest_us);
  // As a primary, so that `xl remus-spec-stop` ends it, and tidies up should it have died.
  const xen::Registration registration(xen::primary_of(domain, "recording", "-"));
  check_log_unused(xc, domain);

  trace::TraceHeader header;
  header.set_guest_name(domain.name);
  header.set_kind(domain.kind);
  header.set_memory_kib(memory_kib(xc, domain.domid));
  header.set_gfn_count(guest.gfn_count());
  header.set_epoch_ms(options.epoch_ms);
  header.set_finest_us(options.finest_us);
  header.set_label(options.label);
  header.set_virtual_time(options.virtual_time);
  header.set_started_unix_s(static_cast<std::uint64_t>(std::time(nullptr)));
  header.set_software("specrep-trace " PACKAGE_VERSION);
  trace::Writer writer(options.file, header);

  const Costs costs = record_into(writer, guest, xc, domain.domid, options, rescuer, signals);
  const double samples = static_cast<double>(std::max<std::uint64_t>(costs.samples, 1));
  if (options.json) {
    std::cout << json{{"file", options.file},
                      {"guest", domain.name},
                      {"complete", !signals.requested()},
                      {"samples", costs.samples},
                      {"pages", costs.pages},
                      {"cleaning_ms_per_sample", milliseconds(costs.cleaning) / samples},
                      {"comparing_ms_per_sample", milliseconds(costs.comparing) / samples}}
                     .dump(2)
              << "\n";
  } else {
    std::printf(
        "%s: %llu samples, %llu pages; a sample took %.2f ms to clean the log, %.2f ms to "
        "read and compare\n",
        options.file.c_str(), static_cast<unsigned long long>(costs.samples),
        static_cast<unsigned long long>(costs.pages), milliseconds(costs.cleaning) / samples,
        milliseconds(costs.comparing) / samples);
  }
}

}  // namespace

void add_record(CLI::App& app) {
  const auto options = std::make_shared<RecordOptions>();
  auto* command = app.add_subcommand(
      "record",
      "Records what a guest of this host writes to its memory. The guest is paused for each "
      "sample, again and again, and runs on afterwards. SIGINT or SIGTERM ends the recording "
      "with what there is.");
  command->add_option("DOMAIN", options->domain, "name or id of the guest")->required();
  command->add_option("-o,--output", options->file, "the file")->required();
  command->add_option("--epoch", options->epoch_ms, "length of an epoch in ms")
      ->check(CLI::Range(1, 3'600'000))
      ->capture_default_str();
  command->add_option("--epochs", options->epochs, "epochs to record")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--finest", options->finest_us,
                   "us from the last sample of an epoch to its end; the one before is twice as "
                   "far from it, and so on")
      ->check(CLI::Range(10, 1'000'000'000))
      ->capture_default_str();
  command->add_option("--label", options->label, "what the guest does, for people");
  command->add_flag("--virtual-time", options->virtual_time,
                    "note that this host's time is an emulator's");
  command->add_flag("--json", options->json, "say what was recorded as JSON");
  command->callback([options] { record(*options); });
}

}  // namespace specrep::tools
