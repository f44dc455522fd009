// The whole of protection in one process, on simulated clocks, from one seed: see README.md here.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "protection.h"
#include "regressions.h"

namespace {

using namespace specrep;
using namespace specrep::sim;
using namespace std::chrono_literals;

// How long it may take, once all is mended, until nothing is open any more: the guardian waits 10 s
// for the backup, ssh 15 s for a network that is silent, and specrep-primary 5 s for a Stopped.
constexpr Duration kSettleMax = 60s;
constexpr Duration kProgressMax = 20s;
constexpr Epoch kEpochsOfProgress = 3;
constexpr std::size_t kStagingBytesEnough = 4 << 20;

enum class Fault {
  kPrimaryHostLosesPower,
  kBackupHostLosesPower,
  kPrimaryDies,
  kGuardianDies,
  kBackupDies,
  kReceiverDies,
  kDiskServerDies,
  kPrimaryHangs,
  kGuardianHangs,
  kBackupHangs,
  kHostHangs,
  kDataCut,
  kControlCut,
  kArbiterCut,
  kAllCut,
  kDataReset,
  kControlReset,
  kArbiterTrouble,
  kOperatorStops,
  kBackupTerminated,
  kWallClockSteps,
  kBackupStorageFails,
  kGuestDestroyed,
  kBackupHostCutOff,  // and the guest is protected again, while the old backup waits for an answer
};
constexpr std::size_t kFaults = 24;

class Run {
 public:
  Run(std::uint64_t seed, bool verbose) : world_(seed, verbose), random_(world_.random) {}

  // What was wrong; empty: nothing.
  std::string run() {
    try {
      go();
    } catch (const std::exception& error) {
      world_.complain(std::string("unexpected: ") + error.what());
    }
    return world_.oracle.violation();
  }

 private:
  bool is_wrong() const { return !world_.oracle.violation().empty(); }

  void go() {
    world_.run_for(random_.between(0ms, 50ms));
    world_.protect();
    const unsigned rounds = random_.chance(0.3) ? 2 : 1;
    for (unsigned round = 0; round < rounds && !is_wrong(); ++round) {
      const Duration time = random_.between(200ms, 2500ms);
      plan(time);
      world_.run_for(time);
      world_.heal();
      settle();
      if (is_wrong() || !world_.running()) return;
      protect_again();
    }
    if (!is_wrong()) stop_in_order();
  }

  // A seed draws some kinds of faults, and then faults of these: what does not happen matters as
  // much as what does.
  void plan(Duration time) {
    std::vector<Fault> kinds;
    for (std::uint64_t i = 1 + random_.below(5); i > 0; --i)
      kinds.push_back(static_cast<Fault>(random_.below(kFaults)));
    for (std::uint64_t i = random_.below(9); i > 0; --i) {
      const Fault fault = random_.one_of(kinds);
      world_.scheduler.after(random_.between(Duration::zero(), time),
                             [this, fault, round = round_] {
                               if (round == round_) strike(fault);
                             });
    }
  }

  void later(Duration least, Duration most, std::function<void()> what) {
    world_.scheduler.after(random_.between(least, most), std::move(what));
  }

  void cut(std::initializer_list<Way> ways) {
    for (const Way way : ways) {
      world_.log("way " + std::to_string(static_cast<int>(way)) + " is cut");
      world_.network.set_cut(way, true);
      later(5ms, 4s, [this, way] { world_.network.set_cut(way, false); });
    }
  }

  void hang(Process& process) {
    process.pause(true);
    later(5ms, 3s, [&process] { process.pause(false); });
  }

  void strike(Fault fault) {
    Protection* const protection = world_.newest();
    if (!protection) return;
    const auto lose = [this](Host& host) {
      world_.cut_power(host);
      if (random_.chance(0.5)) later(100ms, 5s, [this, &host] { world_.give_power(host); });
    };
    const auto calls = static_cast<unsigned>(random_.chance(0.3) ? 0 : random_.below(60));
    switch (fault) {
      case Fault::kPrimaryHostLosesPower:
        return lose(protection->primary_host);
      case Fault::kBackupHostLosesPower:
        return lose(protection->backup_host);
      case Fault::kPrimaryDies:
        return protection->primary->kill_within(calls);
      case Fault::kGuardianDies:
        return protection->guardian->kill_within(calls % 4);
      case Fault::kBackupDies:
        return protection->backup->kill_within(calls % 20);
      case Fault::kReceiverDies:
        world_.log("xl remus-spec-receive dies");
        protection->receiver_alive = false;
        return;
      case Fault::kDiskServerDies: {
        auto& storage = world_.storages[static_cast<std::size_t>(protection->primary_host.number)];
        if (!storage || !storage->server()) return;
        world_.log("the disk's server dies");
        storage->stop_server();
        return world_.scheduler.after(200ms, [&storage, protection] {
          if (protection->machine.exists) storage->start_server();
        });
      }
      case Fault::kPrimaryHangs:
        return hang(*protection->primary);
      case Fault::kGuardianHangs:
        return hang(*protection->guardian);
      case Fault::kBackupHangs:
        return hang(*protection->backup);
      case Fault::kHostHangs:
        world_.log("a host hangs");
        if (random_.chance(0.5)) return hang(*protection->backup);
        hang(*protection->primary);
        return hang(*protection->guardian);
      case Fault::kDataCut:
        return cut({Way::kData});
      case Fault::kControlCut:
        return cut({Way::kControl});
      case Fault::kArbiterCut:
        return cut({random_.chance(0.5) ? Way::kArbiter0 : Way::kArbiter1});
      case Fault::kAllCut:
        return cut({Way::kData, Way::kControl});
      case Fault::kDataReset:
        world_.log("the data link is reset");
        return world_.network.reset(Way::kData);
      case Fault::kControlReset:
        world_.log("the control channel is reset");
        return world_.network.reset(Way::kControl);
      case Fault::kArbiterTrouble:
        world_.arbiter_trouble = 0.5;
        return;
      case Fault::kOperatorStops:
        return protection->guardian->interrupt();
      case Fault::kBackupTerminated:
        return protection->backup->terminate();
      case Fault::kWallClockSteps:
        for (Host& host : world_.hosts)
          if (random_.chance(0.5))
            host.wall_clock_off_us +=
                static_cast<std::int64_t>(random_.below(20'000'000'000)) - 10'000'000'000;
        return;
      case Fault::kBackupStorageFails: {
        auto& storage = world_.storages[static_cast<std::size_t>(protection->backup_host.number)];
        if (!storage) return;
        world_.log("the backup's storage fails");
        protection->note_harm();
        storage->failing = true;
        return;
      }
      case Fault::kGuestDestroyed:
        if (!random_.chance(0.2) || !protection->machine.exists) return;
        world_.log("the guest shuts down");
        protection->note_harm();
        protection->machine.guest.ended = true;
        return world_.destroy(protection->machine);
      case Fault::kBackupHostCutOff:
        world_.log(protection->backup_host.name + " is cut off");
        for (const Way way : {Way::kData, Way::kControl}) {
          world_.network.set_cut(way, true);
          later(1s, 2s, [this, way] { world_.network.set_cut(way, false); });
        }
        world_.network.set_cut(
            protection->backup_host.number == 0 ? Way::kArbiter0 : Way::kArbiter1, true);
        if (random_.chance(0.5)) world_.network.reset(Way::kControl);
        for (Duration time = 1s; time < 4s; time += 250ms)
          world_.scheduler.after(time, [this] { world_.protect(); });
        return;
    }
  }

  void settle() {
    const bool settled = world_.run_until(
        [this] {
          for (const auto& protection : world_.protections)
            if (!protection->is_settled()) return false;
          return true;
        },
        kSettleMax);
    ++round_;
    if (!settled) return world_.complain("what goes on is not settled after 60 s");
    if (is_wrong()) return;
    const Protection* const due = world_.has_to_take_over;
    if (due && !due->harmed && !world_.running())
      return world_.complain("the backup was well, and has not taken the guest over");
    world_.has_to_take_over = nullptr;
    for (Host& host : world_.hosts) world_.give_power(host);
    world_.speak_as_operator();
    world_.run_for(1s);
  }

  void protect_again() {
    if (Protection* const newest = world_.newest(); !newest || !newest->protects()) {
      if (!world_.run_until([this] { return world_.protect(); }, kProgressMax))
        return world_.complain("the guest cannot be protected again");
    }
    if (is_wrong()) return;
    Protection& protection = *world_.newest();
    const Epoch from = protection.primary->committed();
    std::uint64_t answered = 0;
    for (const auto& client : world_.clients) answered += client->answered();
    const auto made_progress = [&] {
      std::uint64_t now = 0;
      for (const auto& client : world_.clients) now += client->answered();
      return protection.primary->committed() >= from + kEpochsOfProgress && now > answered;
    };
    const auto has_ended = [&] { return !protection.primary->is_alive(); };
    if (!world_.run_until([&] { return made_progress() || has_ended(); }, kProgressMax))
      return world_.complain("protection or the guest makes no progress");
    const bool short_of_memory = world_.settings.staging_bytes_max < kStagingBytesEnough;
    if (has_ended() && !short_of_memory && !is_wrong())
      world_.complain("protection ends though nothing is wrong");
  }

  void stop_in_order() {
    Protection& protection = *world_.newest();
    if (!protection.protects()) return;
    // So that the disks can be compared.
    protection.machine.paused = true;
    protection.guardian->interrupt();
    if (!world_.run_until([&] { return protection.is_settled(); }, kSettleMax))
      return world_.complain("an orderly stop is not settled");
    if (is_wrong()) return;
    if (!protection.machine.exists) return;
    if (protection.machine.guest.stopped || protection.machine.holds())
      return world_.complain("rule 4: the guest is held after an orderly stop");
    if (world_.settings.has_disk && world_.storages[0]->content() != world_.storages[1]->content())
      world_.complain("after an orderly stop the copies of the disk differ");
  }

  World world_;
  Random& random_;
  unsigned round_ = 0;
};

bool is_well(std::uint64_t seed, bool verbose) {
  const std::string wrong = Run(seed, verbose).run();
  if (wrong.empty()) return true;
  std::printf("seed %llu: %s\nrepeat it: tests/sim/sim --seed %llu --verbose\n",
              static_cast<unsigned long long>(seed), wrong.c_str(),
              static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Simulates protection, with all that can go wrong, from seeds.");
  std::optional<std::uint64_t> seed;
  std::uint64_t first = 1, seeds = 2000, failures_max = 1;
  bool verbose = false;
  app.add_option("--seed", seed, "this one alone");
  app.add_option("--first", first, "the first of --seeds")->capture_default_str();
  app.add_option("--seeds", seeds, "how many, one after the other")
      ->envname("SPECREP_SIM_SEEDS")
      ->capture_default_str();
  app.add_option("--failures", failures_max, "stop after so many")->capture_default_str();
  app.add_flag("--verbose", verbose, "tell what happens");
  CLI11_PARSE(app, argc, argv);

  if (verbose) std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (seed) {
    if (!is_well(*seed, verbose)) return 1;
    std::printf("seed %llu: nothing wrong\n", static_cast<unsigned long long>(*seed));
    return 0;
  }
  const auto begun = std::chrono::steady_clock::now();
  std::uint64_t failures = 0, done = 0;
  for (const std::uint64_t known : kRegressions) failures += !is_well(known, false);
  for (; done < seeds && failures < failures_max; ++done)
    failures += !is_well(first + done, verbose);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  std::printf("%llu seeds from %llu on, and %zu known ones: %llu failed (%.1f s)\n",
              static_cast<unsigned long long>(done), static_cast<unsigned long long>(first),
              std::size(kRegressions), static_cast<unsigned long long>(failures), took.count());
  return failures ? 1 : 0;
}
