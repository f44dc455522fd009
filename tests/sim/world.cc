#include "world.h"

#include <unistd.h>
#include <cstdio>
#include <filesystem>

#include "libspecrep/arbiter/fence_store.h"
#include "libspecrep/disk/disk_link.h"
#include "protection.h"

namespace specrep::sim {

using namespace std::chrono_literals;

namespace {

constexpr Duration kClientAgain = 150ms;
constexpr TimePoint kStart{1h};

// Where the arbiter keeps its fences; a host reaches it, or not. An answer may be lost when the
// fence was changed, and a change may come late, as the interface says.
class Fences {
 public:
  std::map<std::string, arbiter::Fence> kept;
};

class FencesOf final : public arbiter::FenceStore {
 public:
  FencesOf(World& world, std::shared_ptr<Fences> fences, Way way)
      : world_(world), fences_(std::move(fences)), way_(way) {}

  std::optional<arbiter::Fence> update(const std::string& uuid, Change change, TimePoint) override {
    if (world_.network.is_cut(way_)) throw Error("the arbiter does not answer");
    if (world_.random.chance(world_.arbiter_trouble)) {
      if (world_.random.chance(0.3)) {
        apply(uuid, change);
      } else if (world_.random.chance(0.5)) {
        world_.scheduler.after(world_.random.between(1ms, 2s), [this, uuid, change] {
          try {
            apply(uuid, change);
          } catch (const Error&) {
          }
        });
      }
      throw Error("the arbiter's answer is lost");
    }
    return apply(uuid, change);
  }
  std::string how_to_remove(const std::string&) const override { return "remove it"; }

 private:
  std::optional<arbiter::Fence> apply(const std::string& uuid, const Change& change) {
    std::optional<arbiter::Fence> before;
    if (const auto found = fences_->kept.find(uuid); found != fences_->kept.end())
      before = found->second;
    const auto after = change(before);
    if (after) fences_->kept[uuid] = *after;
    return after;
  }

  World& world_;
  const std::shared_ptr<Fences> fences_;
  const Way way_;
};

std::string bitmap_path(int host) {
  return "/dev/shm/specrep-sim-" + std::to_string(getpid()) + "-" + std::to_string(host);
}

}  // namespace

Settings::Settings(Random& random)
    : pages(8 + random.below(random.chance(0.2) ? 90 : 24)),
      hole(random.chance(0.2)),
      habit(static_cast<Habit>(random.below(5))),
      trace(random.below(traces().size())),
      tick(random.between(2ms, 15ms)),
      has_arbiter(random.chance(0.5)),
      backup_yields(random.chance(0.3)),
      has_disk(random.chance(0.25)),
      epoch(random.between(15ms, 250ms)),
      timeout(random.chance(0.5) ? Duration(1s) : random.between(300ms, 1500ms)),
      heartbeat(random.between(20ms, 100ms)),
      policy(random.one_of(std::initializer_list<model::PolicyKind>{
          model::PolicyKind::kRemus, model::PolicyKind::kAlways, model::PolicyKind::kAge,
          model::PolicyKind::kAdaptive, model::PolicyKind::kAdaptive})),
      cache_pages(random.one_of(std::initializer_list<std::uint32_t>{0, 1, 5, 16, 64})),
      compress(random.chance(0.85)),
      verify_every(random.chance(0.2) ? 3 : 0),
      staging_bytes_max(random.chance(0.05) ? 1 << 20 : 16 << 20),
      buffer_frames(random.chance(0.2) ? 4 : 1000),
      clients(1 + static_cast<unsigned>(random.below(3))),
      clients_loss(random.chance(0.5) ? 0 : 0.1),
      network{random.between(50us, 3ms), random.between(0us, 2ms),
              random.chance(0.3) ? 2e6 : 117e6},
      clock_rates{
          1 + (random.chance(0.5) ? 0 : 0.002 * static_cast<double>(random.below(100)) - 0.1),
          1 + (random.chance(0.5) ? 0 : 0.002 * static_cast<double>(random.below(100)) - 0.1)} {}

std::string Settings::text() const {
  return std::to_string(pages) + " pages, habit " + std::to_string(static_cast<int>(habit)) +
         (has_arbiter     ? ", arbiter"
          : backup_yields ? ", backup yields"
                          : ", primary yields") +
         (has_disk ? ", disk" : "") + ", epochs of " +
         std::to_string(static_cast<int>(milliseconds(epoch))) + " ms, timeout " +
         std::to_string(static_cast<int>(milliseconds(timeout))) + " ms, " +
         model::to_string(policy) + ", cache of " + std::to_string(cache_pages) + " pages";
}

World::World(std::uint64_t seed, bool verbose)
    : verbose(verbose),
      random(seed),
      settings(random),
      hosts{{{0, settings.clock_rates[0]}, {1, settings.clock_rates[1]}}},
      network(scheduler, random, settings.network) {
  const auto fences = std::make_shared<Fences>();
  forget_fence = [fences] { fences->kept.clear(); };
  for (std::size_t i = 0; i < 2; ++i) {
    Host& host = hosts[i];
    host.move_clock(scheduler.now());
    arbiters[i] = arbiter::make_arbiter(
        std::make_unique<FencesOf>(*this, fences, i == 0 ? Way::kArbiter0 : Way::kArbiter1), 2s,
        [this, &host] {
          return static_cast<std::uint64_t>(std::max<std::int64_t>(
              1, 1'700'000'000'000'000 + host.wall_clock_off_us +
                     static_cast<std::int64_t>(microseconds(scheduler.now() - kStart))));
        });
    std::filesystem::remove(bitmap_path(static_cast<int>(i)));
    if (settings.has_disk)
      storages[i] = std::make_unique<Storage>(bitmap_path(static_cast<int>(i)), random);
  }
  log(settings.text());
  if (settings.has_disk) storages[0]->start_server();
  const int number = oracle.first_copy(settings.has_disk ? Storage::kDiskBytes : 0);
  machines.push_back(std::make_unique<Machine>(*this, hosts[0], number));
  for (unsigned i = 0; i < settings.clients; ++i)
    clients.push_back(std::make_unique<Client>(*this, static_cast<int>(i)));
}

World::~World() {
  protections.clear();
  machines.clear();
  for (int i = 0; i < 2; ++i) {
    storages[static_cast<std::size_t>(i)].reset();
    std::filesystem::remove(bitmap_path(i));
  }
}

void World::log(const std::string& text) const {
  if (verbose) std::printf("%10.3f ms  %s\n", milliseconds(scheduler.now() - kStart), text.c_str());
}

void World::move_clocks() {
  for (Host& host : hosts) host.move_clock(scheduler.now());
}

void World::step() {
  const auto what = scheduler.next();
  move_clocks();
  what();
}

void World::run_for(Duration time) {
  bool over = false;
  scheduler.after(time, [&over] { over = true; });
  while (!over && oracle.violation().empty()) step();
  // Before the flag goes away.
  while (!over) step();
}

bool World::run_until(const std::function<bool()>& done, Duration most) {
  constexpr Duration kLook = 20ms;
  for (Duration waited{}; waited < most; waited += kLook) {
    if (done()) return true;
    if (!oracle.violation().empty()) return true;
    run_for(kLook);
  }
  return done();
}

Protection* World::newest() { return protections.empty() ? nullptr : protections.back().get(); }

Machine* World::running() {
  for (const auto& machine : machines) {
    if (!machine->runs()) continue;
    if (!machine->holds()) return machine.get();
    for (const auto& protection : protections)
      if (&protection->machine == machine.get() && protection->protects()) return machine.get();
  }
  return nullptr;
}

bool World::protect() {
  Machine* const machine = running();
  if (!machine || machine->holds()) return false;
  if (Protection* const last = newest())
    if (last->primary->is_alive() || last->guardian->is_alive()) return false;
  const auto here = static_cast<std::size_t>(machine->host.number);
  Host& there = hosts[1 - here];
  if (!there.powered || network.is_cut(Way::kData) || network.is_cut(Way::kControl)) return false;
  for (const auto& other : machines)
    if (other->exists && &other->host == &there) return false;  // the guest's name is taken there
  std::uint64_t generation = 0;
  try {
    if (settings.has_disk) {
      // One process on a host has the disk.
      storages[here]->start_server();
      for (const auto& old : protections)
        if (old->backup->is_alive()) return false;
      try {
        disk::compare("disk", *storages[here]->record, storages[1 - here]->record);
      } catch (const Error& error) {
        // The disk's server was started again on the old primary while its backup took over.
        log(std::string("operator: specrep-disk discard --force, since ") + error.what());
        storages[1 - here]->record.reset();
      }
    }
    if (settings.has_arbiter)
      generation = arbiters[here]->open("11111111-2222-3333-4444-555555555555", machine->host.name);
  } catch (const Error& error) {
    log(std::string("cannot be protected: ") + error.what());
    // A backup has claimed the guest, never heard the answer, and was then told to stand down.
    bool runs_elsewhere = false;
    for (const auto& other : machines) runs_elsewhere |= other->exists && other.get() != machine;
    for (const auto& old : protections) runs_elsewhere |= old->backup->is_alive();
    if (settings.has_arbiter && !runs_elsewhere) {
      log("operator: removes the arbiter's record of the guest");
      forget_fence();
    }
    return false;
  }
  log("copy " + std::to_string(machine->number) + " is to be protected by " + there.name);
  protections.push_back(std::make_unique<Protection>(*this, *machine, generation));
  return true;
}

void World::destroy(Machine& machine) {
  machine.end();
  if (auto& storage = storages[static_cast<std::size_t>(machine.host.number)])
    storage->stop_server();
}

void World::cut_power(Host& host) {
  if (!host.powered) return;
  log(host.name + " loses its power");
  for (const auto& protection : protections) {
    if (&protection->primary_host == &host && protection->protects() && !protection->harmed &&
        !(!settings.has_arbiter && settings.backup_yields))
      has_to_take_over = protection.get();
    protection->host_lost(host);
  }
  host.powered = false;
  network.host_lost(host);
  for (const auto& machine : machines)
    if (machine->exists && &machine->host == &host) destroy(*machine);
  if (auto& storage = storages[static_cast<std::size_t>(host.number)]) storage->lose_power();
}

void World::give_power(Host& host) {
  if (host.powered) return;
  log(host.name + " has power again");
  host.powered = true;
  network.host_is_back();
}

void World::heal() {
  log("all is mended");
  arbiter_trouble = 0;
  // One that is off may stay so until all is settled.
  for (Host& host : hosts)
    if (random.chance(0.5)) give_power(host);
  for (std::size_t way = 0; way < kWays; ++way) network.set_cut(static_cast<Way>(way), false);
  for (auto& storage : storages)
    if (storage) storage->failing = storage->failed = false;
  for (const auto& protection : protections) {
    protection->primary->spare();
    protection->guardian->spare();
    protection->backup->spare();
    protection->primary->pause(false);
    protection->guardian->pause(false);
    protection->backup->pause(false);
  }
}

void World::speak_as_operator() {
  for (const auto& protection : protections) {
    if (!protection->backup->waits()) continue;
    log("operator: ends the backup that waits");
    protection->backup->terminate();
  }
  // By number: more come while this runs.
  for (std::size_t i = 0; i < machines.size(); ++i) {
    Machine& machine = *machines[i];
    if (!machine.exists || &machine == running()) continue;
    const std::string name = "copy " + std::to_string(machine.number);
    if (machine.held_because.empty()) {
      complain("rule 4: " + name + " is left " +
               (machine.guest.stopped ? "stopped"
                : machine.paused      ? "paused"
                                      : "held") +
               " without a reason");
      return;
    }
    if (running() || started_elsewhere.contains(machine.number)) {
      log("operator: destroys " + name + ", since another " + (running() ? "runs" : "ran"));
      destroy(machine);
      continue;
    }
    log("operator: lets " + name + " go on by force (" + machine.held_because + ")");
    machine.guest.resume();
    machine.guest.stop_dirty_log();
    machine.paused = false;
    machine.let_out();
  }
}

void World::deliver(const Frame& frame) {
  const auto arrive = [this, frame] {
    clients[static_cast<std::size_t>(frame.client)]->hear(frame);
  };
  if (random.chance(settings.clients_loss)) return;
  scheduler.after(random.between(100us, 2ms), arrive);
  if (random.chance(settings.clients_loss)) scheduler.after(random.between(100us, 200ms), arrive);
}

void World::request(int client, std::uint64_t number) {
  for (std::size_t i = 0; i < machines.size(); ++i) {
    if (random.chance(settings.clients_loss)) continue;
    scheduler.after(random.between(100us, 2ms), [this, i, client, number] {
      if (machines[i]->runs()) machines[i]->request(client, number);
    });
  }
}

void Client::ask() {
  world_.request(number_, answered_ + 1);
  const std::uint64_t asked = answered_ + 1;
  world_.scheduler.after(kClientAgain, [this, asked] {
    if (answered_ + 1 == asked) ask();
  });
}

void Client::hear(const World::Frame& frame) {
  const std::string name = "client " + std::to_string(number_);
  if (frame.knows_less)
    return world_.complain("rule 1: the guest does not know that it has answered request " +
                           std::to_string(frame.request - 1) + " of " + name);
  if (frame.request == answered_ + 1) {
    chains_.push_back(frame.chain);
    ++answered_;
    world_.scheduler.after(world_.random.between(1ms, 40ms), [this, asked = answered_ + 1] {
      if (answered_ + 1 == asked) ask();
    });
  } else if (frame.request <= answered_ && chains_[frame.request - 1] != frame.chain) {
    world_.complain("rule 1: " + name + " hears two answers to request " +
                    std::to_string(frame.request));
  }
}

}  // namespace specrep::sim
