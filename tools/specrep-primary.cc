// The primary's process: runs the epoch engine on one guest. Started by `xl remus-spec`, which
// stays as its guardian.
//
// Its configuration is one JSON object on descriptor 3 (the pre-shared key must be on no
// command line). It reports on stdout, one JSON object a line:
//   {"event":"progress","phase":"first-copy","round":R,"pages_done":N,"pages_total":N,"bytes":N}
//   {"event":"progress","phase":"disks","bytes_done":N,"bytes_total":N}
//   {"event":"protected","epoch":1,"seconds":S}
//   {"event":"verified","epoch":E,"compared":N,"different":N,"left_out":N}
//   {"event":"ended","reason":"stopped|guest-ended|backup-lost|error","what":…,"advice":…,
//    "copy_may_exist":BOOL,"summary":{…}}
//   {"event":"warning","what":…,"advice":…}
//   {"event":"figures",…}  now and then, see tools/figures.h
//   {"event":"handing-over","stopped_ms":T}: the backup is told to take the guest over
//   {"event":"hand-over-failed","what":…,"advice":…}: it is protected as before
// The reason of "ended" is "handed-over" when the backup has taken it over: only then the guest
// stands still, and must not run again. Otherwise it runs on, if it has not ended by itself, and
// its output stays held if "copy_may_exist" is true: then it is for the guardian to find out which
// copy may go on. Exit status: 0 when stopped in order, handed over, or the guest ended, 1
// otherwise.

#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>

#include "libspecrep/disk/served_disks.h"
#include "libspecrep/epoch/primary_engine.h"
#include "libspecrep/hex.h"
#include "libspecrep/output/input_hold.h"
#include "libspecrep/output/network_buffer.h"
#include "libspecrep/wire/blackhole_link.h"
#include "libspecrep/wire/tls_link.h"
#include "libspecrep/xen/disks.h"
#include "libspecrep/xen/network.h"
#include "libspecrep/xen/registry.h"
#include "libspecrep/xen/watchdog.h"
#include "libspecrep/xen/xen_guest.h"
#include "tools/event_log.h"
#include "tools/figures.h"
#include "tools/log.h"
#include "tools/signals.h"

namespace {

using namespace specrep;
using namespace std::chrono_literals;
using nlohmann::json;

constexpr int kConfigFd = 3;
// xenstore is not for counters that change with every epoch: a write wakes every watcher.
constexpr Duration kPublishInterval = 1s;
// What a guest has got, it answers in that time: in its new place it cannot send at once, and its
// kernel drops what it sends.
constexpr Duration kAnswersMax = 150ms;
// To an emulated card it has to come by way of QEMU first.
constexpr Duration kAnswersHvmMax = 500ms;
// xenstore takes 4096 in one message. Only texts, of why a hand-over failed, could make it so long.
constexpr std::size_t kStatusBytesMax = 3900;
constexpr Duration kProgressInterval = 250ms;
// Between two lines of figures for the event log: a sixtieth of the time since the start, so that
// a short protection has enough of them for a picture, and a long one does not fill the disk.
constexpr Duration kFiguresMin = 1s, kFiguresMax = 10s;
constexpr Duration kConnectTimeout = 10s;
// How soon it is noticed that the guest has got another network card.
constexpr Duration kDevicesInterval = 1s;

json read_config() {
  std::string text;
  char chunk[4096];
  for (ssize_t got = 0; (got = read(kConfigFd, chunk, sizeof chunk)) > 0;)
    text.append(chunk, static_cast<std::size_t>(got));
  close(kConfigFd);
  auto config = json::parse(text, nullptr, false);
  if (config.is_discarded() || !config.is_object())
    throw Error("no configuration on descriptor 3", "this program is started by `xl remus-spec`");
  return config;
}

wire::PreSharedKey key_from_hex(const std::string& hex) {
  wire::PreSharedKey key{};
  if (!from_hex(hex, key)) throw Error("the pre-shared key is not one");
  return key;
}

void emit(const json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

// A guardian that hangs must not hold the guest's output up for the sake of what it can do without.
// A pipe that is writable takes a line at once.
bool is_heard() {
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  return poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0;
}

// Keeps the counters, and tells them to the operator and to xenstore.
class Reporter final : public epoch::PrimaryObserver {
 public:
  Reporter(const Clock& clock, xen::Registration& registration, std::uint32_t domid,
           const output::NetworkBuffer* network, bool can_hand_over)
      : clock_(clock),
        registration_(registration),
        domid_(domid),
        network_(network),
        can_hand_over_(can_hand_over),
        started_(clock.now()),
        figures_(started_) {
    happened("starting");
  }

  void on_first_copy(unsigned round, std::uint64_t done, std::uint64_t total,
                     std::uint64_t bytes) override {
    if (done < total && clock_.now() - progressed_ < kProgressInterval) return;
    progressed_ = clock_.now();
    if (is_heard())
      emit({{"event", "progress"},
            {"phase", "first-copy"},
            {"round", round},
            {"pages_done", done},
            {"pages_total", total},
            {"bytes", bytes}});
    figures_.first_copy(bytes);
    happened("first copy, round " + std::to_string(round));
    publish("first-copy");
  }

  void on_disk_copy(std::uint64_t missing_bytes) override {
    if (clock_.now() - progressed_ < kProgressInterval) return;
    progressed_ = clock_.now();
    disk_bytes_ = std::max(disk_bytes_, missing_bytes);
    if (is_heard())
      emit({{"event", "progress"},
            {"phase", "disks"},
            {"bytes_done", disk_bytes_ - missing_bytes},
            {"bytes_total", disk_bytes_}});
    happened("first copy, disks");
    publish("first-copy");
  }

  void on_checkpoint(const epoch::EpochReport& report) override {
    if (report.epoch == 1) return;  // the end of the first copy, not an epoch like others
    figures_.checkpoint(report);
    epoch_ = report.epoch;
    if (network_ && network_->fill_max() > epoch::PrimaryEngine::kFillMax && !filled_) {
      filled_ = true;
      happened("output buffer more than half full");
      emit({{"event", "warning"},
            {"what",
             "the guest sends so much that its output buffer was more than half full: "
             "epochs end early then, and more would be dropped"},
            {"advice",
             "give `xl remus-spec` shorter epochs (-i, --max-delay) or a larger "
             "--buffer"}});
    }
    if (network_ && network_->dropped_frames() > dropped_frames_) {
      const std::uint64_t frames = network_->dropped_frames() - dropped_frames_;
      dropped_frames_ = network_->dropped_frames();
      happened(std::to_string(dropped_frames_) + " frames dropped");
      emit({{"event", "warning"},
            {"what", std::to_string(frames) + " frames of the guest were dropped: its output "
                                              "buffer is full"},
            {"advice",
             "give `xl remus-spec` shorter epochs (-i, --max-delay) or a larger "
             "--buffer"}});
    }
  }

  void on_commit(const wire::Commit& commit, Duration lag) override {
    if (commit.epoch() == 1) {
      protected_at_ = clock_.now();
      emit({{"event", "protected"},
            {"epoch", 1},
            {"seconds", tools::rounded(milliseconds(protected_at_ - started_) / 1000)}});
      happened("protected");
    } else {
      figures_.commit(lag);
    }
    committed_ = commit.epoch();
    publish("protected");
    emit_figures();
  }

  void on_verified(const wire::Verified& result, std::uint64_t left_out) override {
    ++verified_;
    pages_compared_ += result.pages_compared();
    pages_different_ += result.pages_different();
    if (result.pages_different() > 0)
      happened("the copies differ");
    else if (!is_heard())
      return;
    json line = {{"event", "verified"},
                 {"epoch", result.epoch()},
                 {"compared", result.pages_compared()},
                 {"different", result.pages_different()},
                 {"left_out", left_out}};
    for (const auto gfn : result.first_different_gfns()) line["gfns"].push_back(gfn);
    emit(line);
  }

  void on_hand_over(Duration stopped) override {
    handing_over_at_ = clock_.now();
    stopped_ms_ = milliseconds(stopped);
    emit({{"event", "handing-over"}, {"stopped_ms", tools::rounded(stopped_ms_)}});
    happened("handing over");
    publish("handing-over");
  }

  void on_hand_over_failed(const Error& why) override {
    emit({{"event", "hand-over-failed"}, {"what", why.what()}, {"advice", why.advice()}});
    ++hand_over_failures_;
    hand_over_failure_ = {why.what(), why.advice()};
    happened("not handed over");
    published_ = {};
    publish(state_);
  }

  // Of a planned switchover; after it. Its times are from when the guest stood still.
  void record_switchover(const std::string& path, const std::string& guest,
                         const std::string& peer) const {
    const double answered_ms = stopped_ms_ + milliseconds(clock_.now() - handing_over_at_);
    std::error_code ignored;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
    std::ofstream(path) << json({{"guest", guest},
                                 {"peer", peer},
                                 {"epoch", committed_},
                                 {"committed_ms", tools::rounded(stopped_ms_)},
                                 {"taken_over_ms", tools::rounded(answered_ms)}})
                               .dump(2)
                        << '\n';
  }

  json summary() const {
    const double seconds =
        protected_at_ == TimePoint{} ? 0 : milliseconds(clock_.now() - protected_at_) / 1000;
    json all = figures_.means();
    all.update(
        {{"epoch", epoch_ + 1},
         {"committed_epoch", committed_},
         {"epochs_per_minute",
          seconds > 0 ? tools::rounded(static_cast<double>(figures_.epochs()) * 60 / seconds) : 0},
         {"sums", figures_.sums()},
         {"output_held", network_ != nullptr},
         {"output_held_bytes_max", network_ ? network_->held_bytes_max() : 0},
         {"output_dropped_frames", dropped_frames_},
         {"lag_epochs", epoch_ > committed_ ? epoch_ - committed_ : 0},
         {"verified_epochs", verified_},
         {"pages_compared", pages_compared_},
         {"pages_different", pages_different_},
         {"can_hand_over", can_hand_over_},
         {"hand_over_failures", hand_over_failures_},
         {"hand_over_failure", hand_over_failure_},
         {"last_event", last_event_},
         {"last_event_unix_s", std::round(last_event_unix_s_)}});
    return all;
  }

  void publish(const std::string& state) {
    if (state == state_ && clock_.now() - published_ < kPublishInterval) return;
    published_ = clock_.now();
    state_ = state;
    json status = summary();
    status["recent"] = figures_.recent(published_);
    if (status.dump().size() > kStatusBytesMax) status.erase("codecs");
    registration_.update(state, domid_, status);
  }

 private:
  void happened(std::string what) {
    last_event_ = std::move(what);
    last_event_unix_s_ = tools::unix_now();
  }

  void emit_figures() {
    const TimePoint now = clock_.now();
    if (now - figured_ < std::clamp((now - started_) / 60, kFiguresMin, kFiguresMax)) return;
    if (!is_heard()) return;  // they wait, and are of a longer time then
    figured_ = now;
    json line = figures_.since_logged(now);
    line["event"] = "figures";
    line["epoch"] = epoch_;
    line["committed_epoch"] = committed_;
    emit(line);
  }

  const Clock& clock_;
  xen::Registration& registration_;
  std::uint32_t domid_;
  const output::NetworkBuffer* network_;
  std::uint64_t dropped_frames_ = 0;
  std::uint64_t disk_bytes_ = 0;  // to be copied at first
  bool filled_ = false;           // and said so
  const bool can_hand_over_;
  unsigned hand_over_failures_ = 0;
  std::vector<std::string> hand_over_failure_;  // the newest: what, advice
  TimePoint handing_over_at_{};
  double stopped_ms_ = 0;
  TimePoint started_, progressed_{}, published_{}, protected_at_{}, figured_{};
  std::string state_, last_event_;
  double last_event_unix_s_ = 0;
  Epoch epoch_ = 0, committed_ = 0;
  tools::Figures figures_;
  std::uint64_t verified_ = 0, pages_compared_ = 0, pages_different_ = 0;
};

// Tells the operator of what this protection does not cover, because it came later.
class NewDevices {
 public:
  NewDevices(const Clock& clock, const xen::Domain& domain, bool network_buffer)
      : clock_(clock), name_(domain.name), disks_(domain.domid) {
    if (network_buffer) unheld_.emplace(domain.domid);
  }

  void look() {
    if (clock_.now() - looked_ < kDevicesInterval) return;
    looked_ = clock_.now();
    try {
      if (unheld_)
        for (const std::string& interface : unheld_->look())
          warn("network interface " + interface,
               "what it sends there is not held back, and its copy has no such card");
      for (const std::string& disk : disks_.look())
        warn("disk " + disk,
             "what it writes there is lost with this host, and its copy has no "
             "such disk");
    } catch (const Error&) {
      // A guest that is gone is the engine's business.
    }
  }

 private:
  void warn(const std::string& device, const std::string& consequence) const {
    emit(
        {{"event", "warning"},
         {"what",
          "the " + device + " of " + name_ + " was attached while it is protected: " + consequence},
         {"advice", "protect it again: `xl remus-spec-stop " + name_ + "`, then `xl remus-spec`"}});
  }

  const Clock& clock_;
  const std::string name_;
  std::optional<xen::UnheldInterfaces> unheld_;
  xen::AttachedDisks disks_;
  TimePoint looked_{};
};

struct Ending {
  std::string reason, what, advice;
  bool copy_may_exist = false;
};

// The buffer of what the guest sends, for as long as protection lasts.
class Output {
 public:
  Output(const json& config, std::uint32_t domid) {
    if (!config.value("network_buffer", false)) return;
    interfaces_ = xen::network_interfaces(domid);
    if (interfaces_.empty()) return;
    script_ = config.at("netbuf_script");
    const std::size_t limit_bytes = config.at("buffer_mib").get<std::size_t>() << 20;
    output::netbuf_script::set_up(script_, interfaces_, limit_bytes);
    try {
      auto buffer = std::make_unique<output::NetworkBuffer>(interfaces_, limit_bytes);
      network_ = buffer.get();
      buffer_ = std::move(buffer);
    } catch (const Error&) {
      open();
      throw;
    }
  }

  // From now on what others send to the guest is kept. Without that it would be lost while the
  // guest is moved, no more.
  void hold_input(std::uint32_t domid) {
    if (!network_) return;
    try {
      input_.emplace(script_, xen::card_interfaces(domid));
    } catch (const Error& error) {
      emit({{"event", "warning"}, {"what", error.what()}, {"advice", error.advice()}});
    }
  }
  void give_input() { input_.reset(); }
  std::optional<output::InputHold>& input() { return input_; }

  output::OutputBuffer& buffer() { return *buffer_; }
  const output::NetworkBuffer* network() const { return network_; }  // null: nothing is held

  void open() { output::netbuf_script::take_away(script_, interfaces_); }

 private:
  std::string script_;
  std::vector<std::string> interfaces_;
  std::unique_ptr<output::OutputBuffer> buffer_ = std::make_unique<output::NoBuffer>();
  const output::NetworkBuffer* network_ = nullptr;
  std::optional<output::InputHold> input_;
};

// The guest's disks, each by a server of its own.
std::unique_ptr<disk::EpochDisks> follow_disks(const json& config) {
  if (config.value("disks", json::array()).empty()) return std::make_unique<disk::NoDisks>();
  std::vector<disk::ServedDisks::Peer> peers;
  for (const json& disk : config.at("disks")) {
    disk::ServedDisks::Peer peer;
    peer.path = disk.at("path");
    for (const std::string address : config.at("addresses")) peer.attach.add_addresses(address);
    peer.attach.set_port(disk.at("port"));
    const wire::PreSharedKey key = key_from_hex(disk.at("psk"));
    peer.attach.set_pre_shared_key(key.data(), key.size());
    peer.attach.set_heartbeat_interval_ms(config.at("heartbeat_ms"));
    peer.attach.set_heartbeat_timeout_ms(config.at("timeout_ms"));
    peer.attach.set_resync_bytes_per_s(config.value("disk_rate_mib", std::uint64_t{0}) << 20);
    peers.push_back(std::move(peer));
  }
  return std::make_unique<disk::ServedDisks>(
      peers, config.at("disk_staging_bytes_max").get<std::uint64_t>());
}

bool is_from(std::span<const std::byte> frame, const std::vector<guest::Mac>& macs) {
  guest::Mac source{};
  if (frame.size() < 2 * source.size()) return false;
  std::memcpy(source.data(), frame.data() + source.size(), source.size());
  return std::find(macs.begin(), macs.end(), source) != macs.end();
}

// What came for a guest while it was moved goes after it. It is moved whatever becomes of that.
void send_input(wire::Link& link, Output& output, TimePoint held_since, std::uint32_t domid,
                const Clock& clock) {
  if (!output.input()) return;
  try {
    const auto macs = xen::card_addresses(domid);
    const auto take = [&](const output::InputSink& sink) {
      output.input()->take([&](const auto& interface, std::span<const std::byte> frame) {
        // By which it was announced from its new place: it would take that for somebody else's.
        if (!is_from(frame, macs)) sink(interface, frame);
      });
    };
    spdlog::info("sent {} frames after the guest",
                 output::send_input(link, take, held_since, clock));
  } catch (const Error& error) {
    spdlog::warn("what others sent to the guest while it was moved is lost: {}", error.what());
  }
  output.give_input();
}

// Runs protection to its end. Whatever the end is, the guest runs when this returns.
Ending protect(const json& config, const Clock& clock, tools::StopSignals& signals, json& summary) {
  const xen::Libxl libxl;
  const xen::Xenctrl xc;
  const auto domain =
      xen::find_domain(libxl, xc, std::to_string(config.at("domid").get<std::uint32_t>()));

  xen::Registration registration(xen::primary_of(domain, "first-copy", config.at("peer")));
  std::optional<xen::Watchdog> watchdog;
  if (config.contains("watchdog_s"))
    watchdog.emplace(std::chrono::seconds(config.at("watchdog_s").get<unsigned>()));

  epoch::PrimaryOptions options;
  options.guest_name = domain.name;
  const auto uuid = std::as_bytes(std::span(domain.uuid));
  options.guest_uuid.assign(uuid.begin(), uuid.end());
  options.guest_kind = domain.kind;
  options.domain_config_json = xen::domain_config_json(libxl, domain.domid);
  options.epoch.length = std::chrono::milliseconds(config.at("epoch_ms").get<unsigned>());
  if (config.contains("max_delay_ms"))
    options.epoch.max_delay = std::chrono::milliseconds(config.at("max_delay_ms").get<unsigned>());
  if (config.contains("max_overhead_percent"))
    options.epoch.max_overhead = config.at("max_overhead_percent").get<double>() / 100;
  options.policy.kind = model::policy_from_name(config.value("policy", "adaptive"));
  options.heartbeat_timeout = std::chrono::milliseconds(config.at("timeout_ms").get<unsigned>());
  options.verify_every = config.value("verify_every", 0u);
  options.compress = config.value("compress", true);
  constexpr std::uint32_t kPagesPerMib = (1 << 20) / kPageBytes;
  options.delta_cache_pages = config.value("delta_cache_mib", 64u) * kPagesPerMib;

  std::unique_ptr<wire::Link> link;
  bool takes_input = false;
  if (config.value("blackhole", false)) {
    link = std::make_unique<wire::BlackholeLink>(clock);
  } else {
    auto to_backup = wire::TlsLink::connect(
        config.at("addresses").get<std::vector<std::string>>(),
        config.at("port").get<std::uint16_t>(), key_from_hex(config.at("psk")),
        std::chrono::milliseconds(config.at("heartbeat_ms").get<unsigned>()), kConnectTimeout);
    options.can_hand_over = to_backup->peer().features & wire::kFeatureHandOver;
    takes_input = to_backup->peer().features & wire::kFeatureInput;
    link = std::move(to_backup);
  }
  const tools::StopSignals::Wakes wakes(signals, *link);

  Output output(config, domain.domid);
  Reporter reporter(clock, registration, domain.domid, output.network(), options.can_hand_over);
  NewDevices new_devices(clock, domain, config.value("network_buffer", false));
  Ending ending{"stopped", "", "", false};
  std::optional<xen::XenGuest> guest;
  std::unique_ptr<disk::EpochDisks> disks;
  std::optional<epoch::PrimaryEngine> engine;
  try {
    disks = follow_disks(config);
    guest.emplace(domain);
    guest->follow_addresses();
    engine.emplace(*guest, *link, output.buffer(), *disks, clock, options, reporter);
    std::optional<TimePoint> hand_over_at;
    TimePoint held_since{};  // what others send to the guest
    while (!engine->ended()) {
      if (signals.requested())
        engine->request_stop("protection was stopped; the guest goes on at the primary");
      if (signals.take_failover() && !hand_over_at && !engine->is_handing_over()) {
        hand_over_at = clock.now();
        if (options.can_hand_over && takes_input) {
          held_since = clock.now();
          output.hold_input(domain.domid);
          *hand_over_at = clock.now() + (domain.kind == wire::HVM ? kAnswersHvmMax : kAnswersMax);
        }
      }
      if (hand_over_at && clock.now() >= *hand_over_at) {
        hand_over_at.reset();
        engine->request_hand_over();
      }
      new_devices.look();
      const TimePoint began = clock.now();
      const TimePoint next = engine->step();
      // The guest may have stood still.
      if (hand_over_at) *hand_over_at += clock.now() - began;
      engine->handle(link->wait(hand_over_at ? std::min(next, *hand_over_at) : next));
      if (!hand_over_at && !engine->is_handing_over()) output.give_input();
    }
    if (engine->guest_ended()) ending = {"guest-ended", *engine->guest_ended(), "", false};
    if (engine->handed_over()) {
      guest->leave_stopped();
      ending.reason = "handed-over";
      reporter.record_switchover(config.at("switchover_record"), domain.name, config.at("peer"));
      send_input(*link, output, held_since, domain.domid, clock);
    }
  } catch (const epoch::BackupLost& error) {
    ending = {"backup-lost", error.what(), error.advice(), false};
  } catch (const Error& error) {
    link->send(wire::failure(error));
    ending = {"error", error.what(), error.advice(), false};
  } catch (const std::exception& error) {
    link->send(wire::failure(Error(error.what())));
    ending = {"error", std::string("internal error: ") + error.what(), "", false};
  }
  ending.copy_may_exist = engine && engine->copy_may_exist();
  if (!ending.copy_may_exist) {
    try {
      output.open();
    } catch (const Error& error) {
      spdlog::error(error.what());
      ending.copy_may_exist = true;  // the guardian will try once more
    }
  }
  summary = reporter.summary();
  return ending;
}

}  // namespace

int main() {
  // Without its guardian nobody would let the guest run again if this process died.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  GOOGLE_PROTOBUF_VERIFY_VERSION;
  tools::log_to_stderr();
  tools::be_there_when_memory_is_short();
  tools::StopSignals signals;
  const SteadyClock clock;
  Ending ending;
  json summary = json::object();
  try {
    ending = protect(read_config(), clock, signals, summary);
  } catch (const Error& error) {
    ending = {"error", error.what(), error.advice(), false};
  } catch (const std::exception& error) {
    ending = {"error", std::string("internal error: ") + error.what(), "", false};
  }
  emit({{"event", "ended"},
        {"reason", ending.reason},
        {"what", ending.what},
        {"copy_may_exist", ending.copy_may_exist},
        {"advice", ending.advice},
        {"summary", summary}});
  const bool in_order = ending.reason == "stopped" || ending.reason == "guest-ended" ||
                        ending.reason == "handed-over";
  std::fflush(nullptr);
  // Not through static destructors: the signal thread may still run.
  _exit(in_order ? 0 : 1);
}
