// The backup's process: answers surveys, takes the copy of one guest, and activates it when
// the primary dies. Started over ssh by `xl remus-spec` through `xl remus-spec-receive`; the
// control channel is stdin and stdout.
//
// SIGUSR1 starts a copy that is kept although its primary is lost: the operator's word.
//
// Once it protects, it outlives the ssh session: what it has to say goes to
// /var/log/specrep/NAME.log, and what happens to its copy to the guest's event log (see
// tools/event_log.h).

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "libspecrep/arbiter/arbiter.h"
#include "libspecrep/arbiter/settlement.h"
#include "libspecrep/disk/link_copies.h"
#include "libspecrep/guest/name.h"
#include "libspecrep/output/input_hold.h"
#include "libspecrep/replica/replica.h"
#include "libspecrep/wire/fd_channel.h"
#include "libspecrep/wire/tls_link.h"
#include "libspecrep/xen/domain_monitor.h"
#include "libspecrep/xen/host.h"
#include "libspecrep/xen/network.h"
#include "libspecrep/xen/registry.h"
#include "libspecrep/xen/survey.h"
#include "libspecrep/xen/xen_restore.h"
#include "tools/event_log.h"
#include "tools/log.h"
#include "tools/signals.h"

namespace {

using namespace specrep;
using namespace std::chrono_literals;
using nlohmann::json;

// How long the operator's side may take between two messages of the set-up.
constexpr Duration kSetUpTimeout = 60s;
constexpr Duration kConnectTimeout = 30s;
// The links of disks come after that of memory, when the primary has made ready to hold output
// back.
constexpr Duration kDiskConnectTimeout = 5min;
constexpr Duration kPublishInterval = 1s;
constexpr Duration kFiguresInterval = 10s;
constexpr Duration kArbiterTimeout = 2s;
// What a primary may ask this host to keep of one disk.
constexpr std::uint64_t kDiskStagingBytesMax = std::uint64_t{1} << 30;

// stdout and stderr of this process, and of all that libxl starts, to the guest's log: the ssh
// session may go away at any time, and a hotplug script that writes into a broken pipe dies.
// The control channel stays on descriptors of its own.
void detach(const std::string& guest_name) {
  mkdir(tools::kLogFolder, 0700);
  const std::string path = std::string(tools::kLogFolder) + "/" + guest_name + ".log";
  const int log = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) throw Error("cannot open " + path, "is /var/log writable?");
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null >= 0) dup2(null, STDIN_FILENO);
  setsid();
}

// The control channel once protection runs: hears "stand down" on a thread of its own.
class Control {
 public:
  Control(std::shared_ptr<wire::FdChannel> channel, tools::EventLog& events)
      : channel_(std::move(channel)), events_(events) {}

  // Calls on_stand_down when the guardian says so, also when all else here has gone; ends silently
  // when ssh does.
  void listen(std::function<void(std::string)> on_stand_down) {
    std::thread([channel = channel_, on_stand_down = std::move(on_stand_down)] {
      try {
        for (;;) {
          const auto message = channel->receive(std::chrono::hours(1));
          if (message && message->envelope.has_stand_down())
            on_stand_down(message->envelope.stand_down().reason());
        }
      } catch (const Error&) {
      }
    }).detach();
  }

  // To the operator, if still there, and to the logs.
  void notice(const std::string& text) {
    spdlog::info(text);
    events_.add({{"event", "notice"}, {"what", text}});
    wire::Message message;
    message.envelope.mutable_notice()->set_text(text);
    send(std::move(message));
  }

  void send(wire::Message message) {
    const std::lock_guard lock(mutex_);
    try {
      channel_->send(std::move(message));
    } catch (const Error&) {
    }
  }

 private:
  std::shared_ptr<wire::FdChannel> channel_;
  tools::EventLog& events_;
  std::mutex mutex_;
};

wire::Message expect(wire::FdChannel& channel) {
  auto message = channel.receive(kSetUpTimeout);
  if (!message) throw Error("the primary's side said nothing for 60 s");
  return std::move(*message);
}

// What this side knows of the protection, as of now.
json status(const replica::Replica& replica, const xen::XenRestore& restore,
            double state_since_unix_s) {
  return {{"epoch", replica.committed() + 1},
          {"committed_epoch", replica.committed()},
          {"pages_per_epoch", replica.committed_pages()},
          {"staged_pages", replica.staged_pages()},
          {"lag_epochs", restore.queued_epochs()},
          {"last_event", to_string(replica.state())},
          {"last_event_unix_s", std::round(state_since_unix_s)}};
}

wire::Message outcome(wire::Outcome::Kind kind) {
  wire::Message message;
  message.envelope.mutable_outcome()->set_kind(kind);
  return message;
}

// The other side's word that the guest lives on there, which may come at any time.
class StandDown {
 public:
  void set(std::string reason) {
    {
      const std::lock_guard lock(mutex_);
      reason_ = std::move(reason);
    }
    changed_.notify_all();
  }
  std::optional<std::string> get() const {
    const std::lock_guard lock(mutex_);
    return reason_;
  }
  void wait_for(Duration most) const {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, most, [this] { return reason_.has_value(); });
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::optional<std::string> reason_;
};

// The primary is lost, or has handed the guest over. Returns whether this host may take it over:
// the arbiter says so; or there is none, and it is not this side that yields or the primary has
// yielded by handing over; or the operator says so. Waits for that as long as it takes. `why` is
// set to what speaks against it.
bool may_take_over(const wire::Protect& agreed, bool handed_over, Arbiter* arbiter,
                   const std::string& guest_uuid, const StandDown& stand_down,
                   tools::StopSignals& signals, Control& control, std::string& why) {
  const bool yields = agreed.backup_yields() && !handed_over;
  if (!arbiter && yields)
    control.notice("the primary of this guest is lost; its copy is kept, and not started, since " +
                   std::string("this side yields (--yield)"));
  const SteadyClock clock;
  BackupSettlement settlement({.has_arbiter = arbiter != nullptr, .backup_yields = yields});
  std::string trouble;
  for (;;) {
    if (const auto reason = stand_down.get()) settlement.stand_down(*reason);
    if (signals.requested()) settlement.stand_down("specrep-backup was told to stop");
    if (signals.take_failover()) settlement.operator_said();
    switch (settlement.step(clock.now())) {
      case BackupSettlement::Step::kAskArbiter:
        try {
          settlement.arbiter_said(
              arbiter->claim(guest_uuid, agreed.fencing_generation(), xen::claimant()));
        } catch (const Error& error) {
          if (trouble != error.what())
            control.notice("cannot take the guest over yet: " + std::string(error.what()));
          trouble = error.what();
          settlement.arbiter_silent(clock.now());
        }
        break;
      case BackupSettlement::Step::kWait:
        stand_down.wait_for(kAskArbiterAgain);  // a signal is looked for as often
        break;
      case BackupSettlement::Step::kActivate:
        return true;
      case BackupSettlement::Step::kDiscard:
        why = settlement.reason();
        return false;
    }
  }
}

// The guest's disks and its domain, from the last commit.
struct Completed {
  std::uint64_t dropped_writes;
  double disks_unix_s;
};
Completed complete(xen::XenRestore& restore, disk::LinkCopies& copies) {
  Completed completed;
  // Before the restored domain asks for them.
  completed.dropped_writes = copies.activate();
  completed.disks_unix_s = tools::unix_now();
  restore.complete();
  return completed;
}

// What came for a guest at its old place while it was moved. Returns how many frames. The guest
// runs here whatever becomes of that.
std::size_t receive_input(wire::Link& link, std::uint32_t domid) {
  std::size_t delivered = 0;
  try {
    const SteadyClock clock;
    const auto interfaces = xen::card_interfaces(domid);
    output::FrameSender sender("cannot send to a guest");
    output::receive_input(link, clock, [&](std::uint32_t card, bool is_emulated, auto frame) {
      const auto to =
          std::find_if(interfaces.begin(), interfaces.end(), [&](const auto& interface) {
            return interface.card == card && interface.is_emulated == is_emulated;
          });
      if (to == interfaces.end())
        throw wire::ProtocolError("the primary sent a frame for card " + std::to_string(card) +
                                  ", which the guest does not have here");
      delivered += sender.send(to->index, frame);
    });
  } catch (const Error& error) {
    spdlog::warn("what others sent to the guest while it was moved is lost: {}", error.what());
  }
  return delivered;
}

// Starts the guest, and leaves a record of how it went. `completed`: what had to be done first,
// unless it has been.
// `input`: the link by which the primary sends what comes for the guest there; null: it does not.
std::uint32_t fail_over(const replica::Replica& replica, xen::XenRestore& restore,
                        disk::LinkCopies& copies, std::optional<Completed> completed,
                        wire::Link* input, TimePoint last_heard, double detected_unix_s,
                        double decided_unix_s, Control& control, tools::EventLog& events) {
  const auto& guest = *replica.guest();
  control.notice("activating guest " + guest.guest_name() + " from epoch " +
                 std::to_string(replica.committed()) + ": " + replica.reason());
  if (!completed) completed = complete(restore, copies);
  restore.activate();
  const double running_unix_s = tools::unix_now();
  unsigned announced = 0;
  try {
    // Until its network is told, the primary has what is sent to it, and loses nothing of that.
    if (input && guest.kind() != wire::HVM && !xen::wait_for_cards(*restore.domid()))
      spdlog::warn("not all network cards of the guest are connected");
    announced = xen::announce(restore.config(), restore.addresses());
  } catch (const Error& error) {
    spdlog::warn(error.what());
  }
  const double announced_unix_s = tools::unix_now();
  const std::size_t input_frames = input ? receive_input(*input, *restore.domid()) : 0;
  restore.tidy();
  const auto& times = restore.activation_times();
  const json record = {{"event", "failover"},
                       {"guest", guest.guest_name()},
                       {"domid", *restore.domid()},
                       {"reason", replica.reason()},
                       {"epoch", replica.committed()},
                       {"detected_unix_s", detected_unix_s},
                       {"decided_unix_s", decided_unix_s},
                       {"disks_unix_s", completed->disks_unix_s},
                       {"dropped_disk_writes", completed->dropped_writes},
                       {"running_unix_s", running_unix_s},
                       {"announced_unix_s", announced_unix_s},
                       {"announced_cards", announced},
                       {"announced_addresses", restore.addresses().size()},
                       {"input_frames", input_frames},
                       {"silence_ms", milliseconds(replica.detected() - last_heard)},
                       {"load_ms", milliseconds(times.load)},
                       {"create_ms", milliseconds(times.create)},
                       {"unpause_ms", milliseconds(times.unpause)}};
  events.add(record);
  control.notice("guest " + guest.guest_name() + " runs here, " +
                 std::to_string(static_cast<int>((running_unix_s - detected_unix_s) * 1000)) +
                 (replica.handed_over() ? " ms after it was handed over"
                                        : " ms after the primary's loss was noticed"));
  return *restore.domid();
}

// Copies of the guest's disks, which wait for the primary.
std::unique_ptr<disk::LinkCopies> keep_disks(const wire::Protect& agreed,
                                             tools::StopSignals& signals) {
  std::vector<disk::LinkCopies::Disk> disks;
  for (const wire::DiskKey& asked : agreed.disks()) {
    disk::LinkCopies::Disk disk{asked.path(), {}};
    if (asked.pre_shared_key().size() != disk.key.size())
      throw wire::ProtocolError("the primary's key for a disk has the wrong length");
    std::copy_n(asked.pre_shared_key().begin(), disk.key.size(), disk.key.begin());
    disks.push_back(std::move(disk));
  }
  if (!disks.empty() && (agreed.disk_staging_bytes_max() == 0 ||
                         agreed.disk_staging_bytes_max() > kDiskStagingBytesMax))
    throw Error("the primary wants this host to keep " +
                std::to_string(agreed.disk_staging_bytes_max() >> 20) + " MiB of a disk's writes");
  return std::make_unique<disk::LinkCopies>(
      disks, agreed.disk_staging_bytes_max(), agreed.disk_durable(),
      wire::heartbeat_interval(agreed.heartbeat_interval_ms()), kDiskConnectTimeout,
      [&signals] { signals.wake(); });
}

// The guest lives on elsewhere, and its disks have all that it wrote.
void settle_disks(disk::LinkCopies& copies) {
  try {
    copies.settle();
  } catch (const Error& error) {
    spdlog::warn("a copy of a disk is not up to date: {}", error.what());
  }
}

// Keeps a copy of a disk without a guest, until the primary says that it is up to date.
int follow(const wire::FollowDisk& asked, const std::vector<std::string>& addresses,
           wire::FdChannel& channel, tools::StopSignals& signals) {
  wire::Protect agreed;
  *agreed.add_disks() = asked.disk();
  agreed.set_disk_staging_bytes_max(asked.disk_staging_bytes_max());
  agreed.set_heartbeat_interval_ms(asked.heartbeat_interval_ms());
  const auto copies = keep_disks(agreed, signals);
  wire::Message answer;
  answer.envelope.mutable_listening()->add_disk_ports(copies->ports().at(0));
  for (const auto& address : addresses) answer.envelope.mutable_listening()->add_addresses(address);
  channel.send(std::move(answer));
  for (bool followed = false;;) {
    std::optional<wire::Message> message;
    try {
      message = channel.receive(1s);
    } catch (const Error&) {
      // The primary's side has gone. Not before it has heard over the disk's link what is on stable
      // storage here, or the copy is completed the next time.
      if (followed && channel.closed()) return 0;
      throw;
    }
    if (signals.requested()) throw Error("specrep-backup was told to stop");
    if (!message) continue;
    if (!message->envelope.has_disk_followed() || followed)
      throw wire::ProtocolError("unexpected message on the control channel");
    const std::uint64_t mark = message->envelope.disk_followed().mark();
    if (!copies->hold({mark})) throw Error("not all of the disk has come");
    copies->commit({mark});
    copies->settle();
    channel.send(std::move(*message));
    followed = true;
  }
}

struct Setup {
  wire::SurveyRequest survey;
  wire::Protect protect;
  std::vector<std::string> addresses;
};

int protect(const Setup& setup, const std::shared_ptr<wire::FdChannel>& channel,
            tools::StopSignals& signals) {
  const SteadyClock clock;
  const auto interval = wire::heartbeat_interval(setup.protect.heartbeat_interval_ms());
  const Duration timeout = wire::heartbeat_timeout(setup.protect.heartbeat_timeout_ms());
  const std::string name = setup.survey.guest_name();
  guest::check_name(name);

  wire::PreSharedKey key{};
  if (setup.protect.pre_shared_key().size() != key.size())
    throw wire::ProtocolError("the primary's key has the wrong length");
  std::copy_n(setup.protect.pre_shared_key().begin(), key.size(), key.begin());

  xen::Protection protection;
  xen::Uuid uuid{};
  if (setup.survey.guest_uuid().size() != uuid.size())
    throw wire::ProtocolError("the guest's uuid has the wrong length");
  std::copy_n(setup.survey.guest_uuid().begin(), uuid.size(), uuid.begin());
  protection.uuid = xen::to_string(uuid);
  protection.name = name;
  protection.role = "backup";
  protection.state = "waiting";
  protection.peer = setup.protect.primary_host();
  protection.pid = getpid();
  const std::string registered_uuid = protection.uuid;
  auto registration = std::make_optional<xen::Registration>(protection);

  // Now, since a mistake in its name must not come to light when it is needed.
  std::unique_ptr<Arbiter> arbiter;
  if (!setup.protect.arbiter().empty())
    arbiter = make_arbiter(setup.protect.arbiter(), kArbiterTimeout);

  wire::TlsListener listener(key);
  const auto copies = keep_disks(setup.protect, signals);
  {
    wire::Message answer;
    answer.envelope.mutable_listening()->set_port(listener.port());
    for (const std::uint16_t port : copies->ports())
      answer.envelope.mutable_listening()->add_disk_ports(port);
    for (const auto& address : setup.addresses)
      answer.envelope.mutable_listening()->add_addresses(address);
    channel->send(std::move(answer));
  }
  detach(name);
  spdlog::info("keeping a copy of guest {} of {}", name, protection.peer);
  tools::EventLog events(name, "backup");
  events.add({{"event", "started"}, {"peer", protection.peer}});
  Control control(channel, events);
  const auto stand_down = std::make_shared<StandDown>();

  auto link = listener.accept(interval, kConnectTimeout);
  auto wakes = std::make_optional<tools::StopSignals::Wakes>(signals, *link);
  control.listen([stand_down, &signals](std::string reason) {
    stand_down->set(std::move(reason));
    signals.wake();
  });

  // Installed beside this program.
  xen::XenRestore restore(
      std::filesystem::read_symlink("/proc/self/exe").replace_filename("vif-bridge"));
  replica::ReplicaOptions options;
  options.guest_name = name;
  options.guest_uuid = setup.survey.guest_uuid();
  options.heartbeat_timeout = timeout;
  options.staging_bytes_max =
      std::min<std::uint64_t>(setup.survey.staging_bytes_max(), options.staging_bytes_max);
  replica::Replica replica(*link, restore, *copies, clock, options);
  TimePoint published{}, figured{};
  auto state = replica::Replica::State::kWaiting;
  double state_since_unix_s = tools::unix_now(), detected_unix_s = 0;
  TimePoint last_heard = clock.now();
  try {
    while (!replica.decided()) {
      if (const auto reason = stand_down->get()) replica.stand_down(*reason);
      if (signals.requested()) replica.stand_down("specrep-backup was told to stop");
      if (replica.decided()) break;
      const TimePoint next = replica.step();
      if (!replica.decided()) replica.handle(link->wait(next));
      last_heard = link->last_heard();
      const TimePoint now = clock.now();
      if (!replica.decided() && replica.state() != state) {
        state = replica.state();
        state_since_unix_s = tools::unix_now();
        events.add({{"event", to_string(state)}, {"what", replica.reason()}});
      }
      if (now - published > kPublishInterval) {
        published = now;
        registration->update(to_string(state), restore.domid().value_or(0),
                             status(replica, restore, state_since_unix_s));
      }
      if (now - figured > kFiguresInterval) {
        figured = now;
        json figures = status(replica, restore, state_since_unix_s);
        figures["event"] = "figures";
        events.add(std::move(figures));
      }
    }
    detected_unix_s = tools::unix_now();
  } catch (const Error& error) {
    control.notice(std::string("protection of guest ") + name + " ended: " + error.what());
    control.send(outcome(wire::Outcome::DISCARDED));
    restore.discard();
    settle_disks(*copies);
    events.add({{"event", "discarded"}, {"what", error.what()}});
    throw;
  }
  wakes.reset();

  bool discard = replica.state() == replica::Replica::State::kDiscard;
  std::string why = replica.reason();
  const bool handed_over = replica.handed_over();
  // A guest that is handed over can run on at the primary until it is told of the outcome. So all
  // that may fail is done before, and what an arbiter grants, which cannot be given back, comes
  // last.
  std::optional<Completed> completed;
  if (handed_over) {
    registration->update("taking-over", restore.domid().value_or(0), json::object());
    try {
      completed = complete(restore, *copies);
      if (const auto reason = stand_down->get()) throw Error(*reason);
      if (signals.requested()) throw Error("specrep-backup was told to stop");
    } catch (const Error& error) {
      discard = true;
      why = error.what();
    }
  } else if (!discard) {
    signals.take_failover();  // one that came too early
    registration->update("primary-lost", restore.domid().value_or(0), {{"can_be_forced", true}});
    events.add({{"event", "primary-lost"}, {"what", why}});
  }
  if (!discard)
    discard = !may_take_over(setup.protect, handed_over, arbiter.get(), registered_uuid,
                             *stand_down, signals, control, why);
  const auto tell = [&](wire::Outcome::Kind kind) {
    control.send(outcome(kind));
    if (handed_over) link->send(outcome(kind));
  };
  if (discard) {
    if (handed_over) control.notice("guest " + name + " was not taken over: " + why);
    // It will never run: the primary need not wait until it is destroyed.
    tell(wire::Outcome::DISCARDED);
    if (signals.requested()) link->send(wire::failure(Error("specrep-backup was told to stop")));
    restore.discard();
    settle_disks(*copies);
    spdlog::info("discarded the copy of guest {}: {}", name, why);
    events.add({{"event", "discarded"}, {"what", why}});
    return 0;
  }
  const double decided_unix_s = tools::unix_now();
  // First: a copy of which the primary may have been told is never cleared away.
  registration->update("activating", restore.domid().value_or(0), json::object());
  tell(wire::Outcome::ACTIVATED);
  std::uint32_t domid = 0;
  const bool has_input = handed_over && link->peer().features & wire::kFeatureInput;
  try {
    domid = fail_over(replica, restore, *copies, completed, has_input ? link.get() : nullptr,
                      last_heard, detected_unix_s, decided_unix_s, control, events);
  } catch (const Error& error) {
    // Not left to run(), which says nothing to a primary that is gone.
    events.add({{"event", "activation-failed"}, {"what", error.what()}});
    control.notice("guest " + name + " could not be activated: " + error.what() +
                   (error.advice().empty() ? "" : "; " + error.advice()));
    return 1;
  }
  // Only now, since it waits until the primary has taken the last message, or a second.
  link.reset();
  // From here on it is an ordinary guest of this host, which may be protected in turn.
  registration.reset();
  // Unless that was done before the guest was announced.
  if (!has_input && replica.guest()->kind() != wire::HVM) {
    try {
      xen::wait_for_cards(domid);
    } catch (const Error& error) {
      spdlog::warn(error.what());
    }
  }
  if (setup.protect.monitor_after_failover())
    xen::monitor_domain(domid, replica.guest()->domain_config_json());
  return 0;
}

int run(std::vector<std::string> addresses, tools::StopSignals& signals) {
  // The channel moves away from 0 and 1, so that nothing printed can ever get into it.
  const int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
  const int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  const auto channel = std::make_shared<wire::FdChannel>(in, out);
  channel->send(wire::hello());
  try {
    wire::negotiate(expect(*channel));
    Setup setup;
    setup.addresses = std::move(addresses);
    for (;;) {
      const wire::Message message = expect(*channel);
      if (message.envelope.has_survey_request()) {
        setup.survey = message.envelope.survey_request();
        wire::Message answer;
        answer.envelope.mutable_survey_reply();
        for (auto& finding : xen::answer_survey(setup.survey))
          *answer.envelope.mutable_survey_reply()->add_findings() = std::move(finding);
        channel->send(std::move(answer));
      } else if (message.envelope.has_protect()) {
        setup.protect = message.envelope.protect();
        return protect(setup, channel, signals);
      } else if (message.envelope.has_follow_disk()) {
        return follow(message.envelope.follow_disk(), setup.addresses, *channel, signals);
      } else {
        throw wire::ProtocolError("unexpected message on the control channel");
      }
    }
  } catch (const Error& error) {
    if (channel->closed()) return 0;  // the operator's side went away before anything was changed
    try {
      channel->send(wire::failure(error));
    } catch (const Error&) {
    }
    throw;
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Takes the copy of a guest for another host. Started by `xl remus-spec`.");
  std::vector<std::string> addresses;
  app.add_option("--address", addresses, "address at which the primary reaches this host");
  CLI11_PARSE(app, argc, argv);

  GOOGLE_PROTOBUF_VERIFY_VERSION;
  tools::log_to_stderr();
  tools::be_there_when_memory_is_short();
  tools::StopSignals signals;
  int status = 1;
  try {
    status = run(std::move(addresses), signals);
  } catch (const Error& error) {
    spdlog::error(error.what());
    if (!error.advice().empty()) spdlog::error("  {}", error.advice());
  } catch (const std::exception& error) {
    spdlog::error("internal error: {}", error.what());
  }
  std::fflush(nullptr);
  // Not through static destructors: the signal and control threads may still run.
  _exit(status);
}
