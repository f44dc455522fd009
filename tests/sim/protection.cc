#include "protection.h"

namespace specrep::sim {

using namespace std::chrono_literals;

namespace {

constexpr const char* kGuestName = "web1";
// xl-plugin/guardian.cc and far_failure.h.
constexpr Duration kFarSideGrace = 3s;
constexpr Duration kStopMax = 30s;
constexpr int kEndedWithoutCopy = 1, kDiedActivating = 74, kSshLost = 255;
// Work that is due at once takes at least this long.
constexpr Duration kStepTime = 50us;
// The kernel tells the guardian that its child has ended.
constexpr Duration kChildTime = 1ms;

// The disk's server sees that specrep-primary has gone.
void stop_mirror(Protection& protection) {
  if (!protection.world.settings.has_disk) return;
  if (Storage::Server* server = protection.storage(protection.primary_host).server())
    server->mirror.reset();
}

std::vector<std::byte> bytes_of(const Restorer& restorer, Gfn pages) {
  std::vector<std::byte> bytes(pages * kPageBytes);
  for (const auto& [gfn, page] : restorer.memory)
    std::copy(page.begin(), page.end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(gfn * kPageBytes));
  return bytes;
}

}  // namespace

void Process::kill_within(unsigned calls) {
  if (!alive_) return;
  if (calls == 0) return die();
  dies_within_ = calls;
}

void Process::pause(bool paused) {
  if (!alive_ || paused_ == paused) return;
  paused_ = paused;
  on_pause(paused);
}

void Process::calls_outside() {
  if (alive_ && dies_within_ && --*dies_within_ == 0) die();
  if (!alive_) throw Killed{};
}

void Process::die() {
  if (!std::exchange(alive_, false)) return;
  on_death();
}

class PrimaryProcess::GuestCalls final : public guest::Guest {
 public:
  GuestCalls(Process& process, sim::Guest& guest) : process_(process), guest_(guest) {}
  Gfn gfn_count() const override { return guest_.gfn_count(); }
  std::vector<std::byte> stream_prologue() override { return outside().stream_prologue(); }
  void start_dirty_log() override { outside().start_dirty_log(); }
  void stop_dirty_log() noexcept override {
    if (process_.is_alive()) guest_.stop_dirty_log();
  }
  void populated(PageBitmap& present) override { outside().populated(present); }
  void sample(PageBitmap& dirty) override { outside().sample(dirty); }
  void peek(PageBitmap& dirty) override { outside().peek(dirty); }
  void copy_pages(std::span<const Gfn> gfns, std::byte* out, std::uint8_t* present) override {
    outside().copy_pages(gfns, out, present);
  }
  std::vector<Gfn> special_pages() override { return guest_.special_pages(); }
  void stop() override { outside().stop(); }
  guest::State capture_state() override { return outside().capture_state(); }
  void resume() override {
    if (process_.is_alive()) guest_.resume();
  }

 private:
  sim::Guest& outside() {
    process_.calls_outside();
    return guest_;
  }
  Process& process_;
  sim::Guest& guest_;
};

class PrimaryProcess::OutputCalls final : public output::OutputBuffer {
 public:
  OutputCalls(Process& process, Output& output) : process_(process), output_(output) {}
  void end_epoch(Epoch epoch) override {
    process_.calls_outside();
    output_.end_epoch(epoch);
  }
  void release(Epoch epoch) override {
    process_.calls_outside();
    output_.release(epoch);
  }
  double fill() override { return output_.fill(); }

 private:
  Process& process_;
  Output& output_;
};

class PrimaryProcess::DiskCalls final : public disk::EpochDisks {
 public:
  DiskCalls(Process& process, disk::EpochDisks& disk) : process_(process), disk_(disk) {}
  std::uint64_t missing_bytes() override { return outside().missing_bytes(); }
  std::vector<std::uint64_t> end_epoch(Epoch epoch) override { return outside().end_epoch(epoch); }
  void release(Epoch epoch) override { outside().release(epoch); }
  double fill() override { return outside().fill(); }
  void finish() noexcept override {
    if (process_.is_alive()) disk_.finish();
  }

 private:
  disk::EpochDisks& outside() {
    process_.calls_outside();
    return disk_;
  }
  Process& process_;
  disk::EpochDisks& disk_;
};

namespace {

// An end of a link, as the process that can be killed uses it.
class Calls : public wire::Link {
 public:
  Calls(Process& process, End& end) : process_(process), end_(end) {}
  void send(wire::Message message) override {
    process_.calls_outside();
    end_.send(std::move(message));
  }
  std::size_t queued_bytes() const override { return end_.queued_bytes(); }
  TimePoint last_heard() const override { return end_.last_heard(); }
  Event wait(TimePoint deadline) override { return end_.wait(deadline); }
  void wake() override {}
  bool has_event() const { return end_.has_event(); }

 private:
  Process& process_;
  End& end_;
};

}  // namespace

class PrimaryProcess::LinkCalls final : public Calls {
  using Calls::Calls;
};

PrimaryProcess::PrimaryProcess(Protection& protection) : protection_(protection) {
  World& world = protection.world;
  const Settings& settings = world.settings;
  Machine& machine = protection.machine;
  guest_ = std::make_unique<GuestCalls>(*this, machine.guest);
  link_ = std::make_unique<LinkCalls>(*this, protection.data->end(0));
  output_ = std::make_unique<OutputCalls>(*this, machine.hold_output());
  if (settings.has_disk) {
    Storage& storage = protection.storage(machine.host);
    disk_ = std::make_unique<ProtectedDisk>(storage, settings.staging_bytes_max);
    storage.server()->mirror = std::make_unique<DiskSource>(storage, protection.disk_data);
  } else {
    disk_ = std::make_unique<disk::NoDisks>();
  }
  disks_ = std::make_unique<DiskCalls>(*this, *disk_);
  epoch::PrimaryOptions options;
  options.guest_name = kGuestName;
  options.epoch.length = settings.epoch;
  options.policy = {settings.policy};
  options.heartbeat_timeout = settings.timeout;
  options.delta_cache_pages = settings.cache_pages;
  options.compress = settings.compress;
  options.verify_every = settings.verify_every;
  engine_ = std::make_unique<epoch::PrimaryEngine>(*guest_, *link_, *output_, *disks_,
                                                   machine.host.clock, options, observer_);
  protection.data->end(0).on_arrival = [this] { run(); };
  wake_at(machine.host.clock.now());
}

PrimaryProcess::~PrimaryProcess() { exits(); }

void PrimaryProcess::wake_at(TimePoint time) {
  World& world = protection_.world;
  world.scheduler.at(
      std::max(protection_.primary_host.true_time(time), world.scheduler.now() + kStepTime),
      [this, timer = ++timer_] {
        if (timer == timer_) run();
      });
}

void PrimaryProcess::run() {
  if (!is_alive() || is_paused()) return;
  try {
    try {
      if (terminated_)
        engine_->request_stop("protection was stopped; the guest goes on at the primary");
      TimePoint next = engine_->step();
      if (link_->has_event()) {
        engine_->handle(link_->wait({}));
        next = protection_.primary_host.clock.now();
      }
      for (const auto& verified : std::exchange(observer_.verified, {}))
        if (verified.pages_different() != 0)
          protection_.world.complain("--verify finds pages that differ");
      observer_.reports.clear();
      if (engine_->ended()) return end(engine_->copy_may_exist(), "stopped");
      wake_at(next);
    } catch (const epoch::BackupLost& error) {
      end(engine_->copy_may_exist(), error.what());
    } catch (const Error& error) {
      link_->send(wire::failure(error));
      end(engine_->copy_may_exist(), error.what());
    }
  } catch (const Killed&) {
  }
}

void PrimaryProcess::end(bool copy_may_exist, const std::string& why) {
  World& world = protection_.world;
  Machine& machine = protection_.machine;
  world.log("specrep-primary ends: " + why + (copy_may_exist ? "; a copy may exist" : ""));
  protection_.note_harm();
  engine_.reset();
  exits();
  stop_mirror(protection_);
  if (!copy_may_exist && machine.exists) machine.let_out();
  protection_.data->close(0, true);
  tell_guardian(copy_may_exist);
}

void PrimaryProcess::tell_guardian(std::optional<bool> copy_may_exist) {
  Guardian& guardian = *protection_.guardian;
  if (!guardian.is_alive()) return guardian.primary_ended(copy_may_exist);
  protection_.world.scheduler.after(
      kChildTime, [&guardian, copy_may_exist] { guardian.primary_ended(copy_may_exist); });
}

void PrimaryProcess::terminate() {
  if (!is_alive()) return;
  terminated_ = true;
  protection_.note_harm();
  run();
}

void PrimaryProcess::on_death() {
  protection_.world.log("specrep-primary dies");
  protection_.note_harm();
  stop_mirror(protection_);
  protection_.data->close(0, false);
  tell_guardian(std::nullopt);
}

void PrimaryProcess::lose_host() { exits(); }

void PrimaryProcess::on_pause(bool paused) {
  End& end = protection_.data->end(0);
  if (paused) return end.set_paused(true);
  // Whether what came meanwhile is read before it looks at the clock is chance.
  if (protection_.world.random.chance(0.5)) run();
  end.set_paused(false);
  run();
}

Guardian::Guardian(Protection& protection) : protection_(protection) {
  protection.control->end(0).on_arrival = [this] { run(); };
}

TimePoint Guardian::now() const { return protection_.primary_host.clock.now(); }

void Guardian::wake_after(Duration wait) {
  protection_.world.scheduler.after(
      std::max(kStepTime, protection_.primary_host.true_duration(wait)), [this] { run(); });
}

void Guardian::read_far_side() {
  End& end = protection_.control->end(0);
  while (end.has_event()) {
    const auto event = end.wait({});
    if (event.message && event.message->envelope.has_outcome())
      far_copy_discarded_ = event.message->envelope.outcome().kind() == wire::Outcome::DISCARDED;
    if (!event.closed) continue;
    far_closed_ = event.closed;
    far_closed_at_ = now();
    ended_without_copy_ =
        *far_closed_ == "status 0" || *far_closed_ == "status " + std::to_string(kEndedWithoutCopy);
    protection_.world.log("the guardian's ssh ends: " + *far_closed_);
  }
}

void Guardian::run() {
  if (!is_alive() || is_paused()) return;
  try {
    read_far_side();
    if (settlement_) return settle();
    if (ended_) {
      const std::optional<bool> copy_may_exist = *std::exchange(ended_, std::nullopt);
      stand_down();
      if (!copy_may_exist) {  // it died: the guest may be stopped
        calls_outside();
        protection_.machine.guest.resume();
        protection_.machine.guest.stop_dirty_log();
      } else if (!*copy_may_exist) {
        return finish();
      }
      settlement_.emplace(protection_.tie_break());
      hears_until_ = now() + settlement_->hear_backup_max();
      return settle();
    }
    if (interrupted_) begin_stop("stopped by the operator");
    const bool discarded = far_copy_discarded_.value_or(false);
    if (far_closed_ && !discarded) {
      if (now() - far_closed_at_ > kFarSideGrace)
        begin_stop("the control connection was lost");
      else
        wake_after(kFarSideGrace + 1ms);
    }
    if (kill_at_ != TimePoint{} && now() > kill_at_) protection_.primary->kill_within(0);
  } catch (const Killed&) {
  }
}

void Guardian::begin_stop(const std::string& reason) {
  if (std::exchange(stopping_, true)) return;
  protection_.world.log("the guardian stops protection: " + reason);
  kill_at_ = now() + kStopMax;
  wake_after(kStopMax + 1ms);
  protection_.primary->terminate();
}

void Guardian::stand_down() {
  if (std::exchange(stood_down_, true)) return;
  calls_outside();
  wire::Message message;
  message.envelope.mutable_stand_down()->set_reason("the guest lives on");
  protection_.control->end(0).send(std::move(message));
}

void Guardian::interrupt() {
  interrupted_ = true;
  protection_.note_harm();
  run();
}

void Guardian::primary_ended(std::optional<bool> copy_may_exist) {
  if (!is_alive()) {
    // The one thing that nobody else would do, see failures.md.
    if (copy_may_exist.value_or(true))
      protection_.machine.held_because = "specrep-primary and its guardian have died";
    return;
  }
  ended_ = copy_may_exist;
  run();
}

std::optional<PrimarySettlement::Copy> Guardian::outcome() const {
  using Copy = PrimarySettlement::Copy;
  if (far_copy_discarded_) return *far_copy_discarded_ ? Copy::kDiscarded : Copy::kActivated;
  if (far_closed_) return ended_without_copy_ ? Copy::kDiscarded : Copy::kUnknown;
  if (now() >= hears_until_) return Copy::kUnknown;
  return std::nullopt;
}

void Guardian::settle() {
  using Step = PrimarySettlement::Step;
  Machine& machine = protection_.machine;
  World& world = protection_.world;
  for (;;) {
    switch (settlement_->step(now())) {
      case Step::kHearBackup: {
        const auto copy = outcome();
        if (!copy) return wake_after(hears_until_ - now());
        settlement_->backup_said(*copy);
        break;
      }
      case Step::kAskArbiter:
        calls_outside();
        try {
          Arbiter& arbiter = *world.arbiters[static_cast<std::size_t>(machine.host.number)];
          const bool granted = arbiter.claim(protection_.guest_uuid, protection_.fencing_generation,
                                             protection_.claimant(machine.host));
          world.log(std::string("the arbiter says to the primary: ") + (granted ? "yes" : "no"));
          settlement_->arbiter_said(granted);
        } catch (const Error& error) {
          settlement_->arbiter_silent(now());
        }
        break;
      case Step::kWait:
        if (!interrupted_) return wake_after(settlement_->due() - now());
        settlement_->interrupted();
        break;
      case Step::kGoOn:
        calls_outside();
        if (machine.exists) machine.let_out();
        return finish();
      case Step::kGiveUp:
        calls_outside();
        machine.paused = true;
        calls_outside();
        machine.drop_held();
        machine.end();
        return finish();
      case Step::kHold:
        calls_outside();
        machine.paused = true;
        machine.held_because = "nobody can say whether the other copy runs";
        return finish();
    }
  }
}

void Guardian::finish() {
  settlement_.reset();
  exits();
  protection_.control->close(0, true);
}

void Guardian::on_death() {
  protection_.world.log("the guardian dies");
  protection_.note_harm();
  protection_.control->close(0, false);
  if (protection_.primary->is_alive()) return protection_.primary->terminate();
  if (protection_.machine.holds())
    protection_.machine.held_because = "the guardian died while it settled";
}

void Guardian::on_pause(bool paused) {
  protection_.control->end(0).set_paused(paused);
  if (!paused) run();
}

void Guardian::lose_host() { exits(); }

class BackupProcess::RestorerCalls final : public replica::Restorer {
 public:
  RestorerCalls(BackupProcess& process, sim::Restorer& restorer)
      : process_(process), restorer_(restorer) {}
  void begin(const wire::Start& start, std::vector<std::byte> prologue) override {
    process_.calls_outside();
    restorer_.begin(start, std::move(prologue));
  }
  void load(wire::Message message, Gfn gfn_count) override {
    process_.calls_outside();
    restorer_.load(std::move(message), gfn_count);
  }
  void apply(replica::CommittedEpoch epoch) override {
    restorer_.apply(std::move(epoch));
    Protection& protection = process_.protection_;
    protection.world.oracle.backup_has(protection.machine.number, protection.number,
                                       bytes_of(restorer_, protection.world.settings.pages));
    process_.calls_outside();  // it had it, and had said so
  }
  replica::Comparison compare(const wire::DigestsView& digests) override {
    process_.calls_outside();
    return restorer_.compare(digests);
  }
  std::uint64_t queued_epochs() const override { return 0; }
  void activate() override { restorer_.activate(); }
  void discard() noexcept override { restorer_.discard(); }

 private:
  BackupProcess& process_;
  sim::Restorer& restorer_;
};

class BackupProcess::LinkCalls final : public Calls {
  using Calls::Calls;
};

class BackupProcess::CopiesCalls final : public replica::DiskCopies {
 public:
  CopiesCalls(Process& process, DiskCopy& copy) : process_(process), copy_(copy) {}
  std::size_t count() const override { return copy_.count(); }
  bool hold(const std::vector<std::uint64_t>& marks) const override {
    process_.calls_outside();
    return copy_.hold(marks);
  }
  void commit(const std::vector<std::uint64_t>& marks) override {
    process_.calls_outside();
    copy_.commit(marks);
  }

 private:
  Process& process_;
  DiskCopy& copy_;
};

BackupProcess::BackupProcess(Protection& protection) : protection_(protection) {
  const Settings& settings = protection.world.settings;
  calls_ = std::make_unique<RestorerCalls>(*this, restorer_);
  link_ = std::make_unique<LinkCalls>(*this, protection.data->end(1));
  if (settings.has_disk) {
    disk_ =
        std::make_unique<DiskCopy>(protection.storage(protection.backup_host), protection.disk_data,
                                   settings.staging_bytes_max, [this] { wake_at(TimePoint{}); });
    copies_ = std::make_unique<CopiesCalls>(*this, *disk_);
  } else {
    copies_ = std::make_unique<replica::NoDiskCopies>();
  }
  replica::ReplicaOptions options;
  options.guest_name = kGuestName;
  options.heartbeat_timeout = settings.timeout;
  options.staging_bytes_max = settings.staging_bytes_max;
  replica_ = std::make_unique<replica::Replica>(*link_, *calls_, *copies_,
                                                protection.backup_host.clock, options);
  protection.data->end(1).on_arrival = [this] { run(); };
  protection.control->end(1).on_arrival = [this] { run(); };
  wake_at(TimePoint{});
}

BackupProcess::~BackupProcess() { exits(); }

bool BackupProcess::guards() const {
  return is_alive() && !replica_->decided() && replica_->committed() > 0;
}

void BackupProcess::wake_at(TimePoint time) {
  World& world = protection_.world;
  world.scheduler.at(
      std::max(protection_.backup_host.true_time(time), world.scheduler.now() + kStepTime),
      [this, timer = ++timer_] {
        if (timer == timer_) run();
      });
}

void BackupProcess::hear_guardian() {
  End& end = protection_.control->end(1);
  while (end.has_event()) {
    const auto event = end.wait({});
    if (event.message && event.message->envelope.has_stand_down()) {
      stand_down_ = event.message->envelope.stand_down().reason();
      protection_.note_harm();
    }
  }
}

void BackupProcess::run() {
  if (!is_alive() || is_paused()) return;
  try {
    hear_guardian();
    if (activating_) return;
    if (settlement_) return take_over();
    if (stand_down_) replica_->stand_down(*stand_down_);
    if (terminated_) replica_->stand_down("specrep-backup was told to stop");
    TimePoint next{};
    if (!replica_->decided()) {
      next = replica_->step();
      if (!replica_->decided() && link_->has_event()) {
        replica_->handle(link_->wait({}));
        next = {};
      }
    }
    if (!replica_->decided()) return wake_at(next);
    if (replica_->state() == replica::Replica::State::kDiscard)
      return discard(replica_->reason(), false);
    protection_.world.log("the backup has lost the primary: " + replica_->reason());
    // If only its process was lost, its guardian has that long to say so.
    if (protection_.backup_host.clock.now() - link_->last_heard() <
        protection_.world.settings.timeout)
      protection_.world.complain("the backup gives up a primary that it has just heard");
    settlement_.emplace(protection_.tie_break());
    take_over();
  } catch (const Killed&) {
  } catch (const Error& error) {
    discard(error.what(), true);
  }
}

void BackupProcess::take_over() {
  using Step = BackupSettlement::Step;
  World& world = protection_.world;
  Host& host = protection_.backup_host;
  for (;;) {
    if (stand_down_) settlement_->stand_down(*stand_down_);
    if (terminated_) settlement_->stand_down("specrep-backup was told to stop");
    switch (settlement_->step(host.clock.now())) {
      case Step::kAskArbiter:
        calls_outside();
        try {
          const bool granted = world.arbiters[static_cast<std::size_t>(host.number)]->claim(
              protection_.guest_uuid, protection_.fencing_generation, protection_.claimant(host));
          world.log(std::string("the arbiter says to the backup: ") + (granted ? "yes" : "no"));
          settlement_->arbiter_said(granted);
        } catch (const Error& error) {
          settlement_->arbiter_silent(host.clock.now());
        }
        break;
      case Step::kWait:
        return wake_at(std::max(settlement_->due(), host.clock.now() + kAskArbiterAgain));
      case Step::kActivate:
        return activate();
      case Step::kDiscard:
        return discard(settlement_->reason(), false);
    }
  }
}

void BackupProcess::say(wire::Message message) {
  calls_outside();
  protection_.control->end(1).send(std::move(message));
}

void BackupProcess::activate() {
  World& world = protection_.world;
  if (!activating_) {
    world.log("the backup activates its copy, of epoch " + std::to_string(replica_->committed()));
    wire::Message message;
    message.envelope.mutable_outcome()->set_kind(wire::Outcome::ACTIVATED);
    say(std::move(message));
    activating_ = true;
  } else {
    // libxl has loaded it.
    Host& host = protection_.backup_host;
    try {
      if (disk_) disk_->activate();
    } catch (const Error& error) {
      world.log("the copy cannot be activated: " + std::string(error.what()));
      protection_.note_harm();
      exits();
      return protection_.backup_exited(1);
    }
    const int number =
        world.oracle.starts(protection_.machine.number, bytes_of(restorer_, world.settings.pages),
                            disk_ ? protection_.storage(host).content() : std::vector<std::byte>{});
    disk_.reset();
    if (world.settings.has_disk) protection_.storage(host).start_server();
    world.started_elsewhere.insert(protection_.machine.number);
    world.machines.push_back(std::make_unique<Machine>(world, host, number, restorer_));
    world.log("copy " + std::to_string(number) + " runs on " + host.name);
    exits();
    protection_.data->close(1, true);
    return protection_.backup_exited(0);
  }
  const auto attempt = [this](auto& self) -> void {
    if (!is_alive()) return;
    if (is_paused()) {
      protection_.world.scheduler.after(50ms, [self] { self(self); });
      return;
    }
    activate();
  };
  world.scheduler.after(world.random.between(5ms, 300ms), [attempt] { attempt(attempt); });
}

void BackupProcess::discard(const std::string& why, bool failed) {
  protection_.world.log("the backup discards its copy: " + why);
  if (failed) protection_.note_harm();
  try {
    wire::Message message;
    message.envelope.mutable_outcome()->set_kind(wire::Outcome::DISCARDED);
    say(std::move(message));
    if (terminated_) link_->send(wire::failure(Error("specrep-backup was told to stop")));
    restorer_.discard();
    if (disk_) disk_->settle();
  } catch (const Killed&) {
    return;
  } catch (const Error& error) {
    protection_.world.log(std::string("the disk's copy is not up to date: ") + error.what());
  }
  disk_.reset();
  exits();
  protection_.data->close(1, true);
  protection_.backup_exited(failed ? 1 : 0);
}

void BackupProcess::terminate() {
  if (!is_alive()) return;
  terminated_ = true;
  protection_.note_harm();
  run();
}

void BackupProcess::on_death() {
  protection_.world.log("specrep-backup dies");
  protection_.note_harm();
  disk_.reset();
  protection_.data->close(1, false);
  protection_.backup_exited(activating_ ? kDiedActivating : kEndedWithoutCopy);
}

void BackupProcess::lose_host() {
  exits();
  disk_.reset();
}

void BackupProcess::on_pause(bool paused) {
  End& end = protection_.data->end(1);
  protection_.control->end(1).set_paused(paused);
  if (!paused && protection_.world.random.chance(0.5)) run();
  if (!is_alive()) return;
  end.set_paused(paused);
  if (disk_) disk_->set_paused(paused);
  if (!paused) run();
}

Protection::Protection(World& world, Machine& machine, std::uint64_t fencing_generation)
    : world(world),
      machine(machine),
      primary_host(machine.host),
      backup_host(world.hosts[static_cast<std::size_t>(1 - machine.host.number)]),
      fencing_generation(fencing_generation) {
  const Duration heartbeat = world.settings.heartbeat;
  data = world.network.connect(primary_host, backup_host, Way::kData, heartbeat);
  control = world.network.connect(primary_host, backup_host, Way::kControl, {});
  if (world.settings.has_disk)
    disk_data = world.network.connect(primary_host, backup_host, Way::kData, {});
  number = world.oracle.protection_starts(machine.number);
  backup = std::make_unique<BackupProcess>(*this);
  guardian = std::make_unique<Guardian>(*this);
  primary = std::make_unique<PrimaryProcess>(*this);
}

Protection::~Protection() = default;

void Protection::backup_exited(int status) {
  control->close(1, true, "status " + std::to_string(receiver_alive ? status : kSshLost));
}

void Protection::host_lost(Host& host) {
  if (&host == &primary_host) {
    primary->lose_host();
    guardian->lose_host();
  } else {
    note_harm();
    backup->lose_host();
  }
}

bool Protection::protects() const {
  return primary->is_alive() && primary->in_epochs() && primary->committed() > 0 &&
         backup->guards();
}

bool Protection::is_settled() const {
  if (primary->is_alive() && guardian->is_alive() && backup->is_alive())
    return protects() && !guardian->is_about_to_stop();
  const bool waits_for_operator =
      backup->waits() && !world.settings.has_arbiter && world.settings.backup_yields;
  return !primary->is_alive() && !guardian->is_alive() &&
         (!backup->is_alive() || waits_for_operator);
}

}  // namespace specrep::sim
