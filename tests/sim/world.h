#pragma once

#include <array>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "disks.h"
#include "host.h"
#include "libspecrep/arbiter/arbiter.h"
#include "libspecrep/arbiter/settlement.h"
#include "libspecrep/model/policy.h"
#include "network.h"
#include "oracle.h"
#include "random.h"
#include "scheduler.h"

namespace specrep::sim {

class Machine;
class Protection;
class Client;

// How the guest writes to its memory.
enum class Habit { kQuiet, kHot, kScan, kSame, kTrace };

// What a seed makes of the world, before anything goes wrong in it.
struct Settings {
  explicit Settings(Random& random);

  Gfn pages;
  bool hole;
  Habit habit;
  std::size_t trace;  // of traces()
  Duration tick;      // of the guest
  bool has_arbiter;
  bool backup_yields;
  bool has_disk;
  Duration epoch, timeout, heartbeat;
  model::PolicyKind policy;
  std::uint32_t cache_pages;
  bool compress;
  unsigned verify_every;
  std::size_t staging_bytes_max;
  std::size_t buffer_frames;
  unsigned clients;
  double clients_loss;
  NetworkOptions network;
  std::array<double, 2> clock_rates;

  std::string text() const;
};

// Two hosts, the network between them, an arbiter, clients, and one guest with its copies.
class World {
 public:
  World(std::uint64_t seed, bool verbose);
  ~World();

  // Does what happens next.
  void step();
  void run_for(Duration time);
  // Whether it came true in time.
  bool run_until(const std::function<bool()>& done, Duration most);

  void log(const std::string& text) const;
  // Something is wrong that is not one of the oracle's rules.
  void complain(const std::string& what) { oracle.complain(what); }

  // All that was cut, lost or stopped works again.
  void heal();
  // Does what the commands have told the operator to do: one copy runs afterwards at most, and is
  // held only by a protection.
  void speak_as_operator();

  // xl remus-spec: protects the copy that runs, on the other host. false: it cannot be now. Where
  // the arbiter stands in the way, the operator does what it advises.
  bool protect();
  Protection* newest();
  // xl destroy.
  void destroy(Machine& machine);
  void cut_power(Host& host);
  void give_power(Host& host);

  // The guest's frames on the network of the clients.
  struct Frame {
    int client;
    std::uint64_t request, chain;
    bool knows_less;  // the guest has no memory of what it told this client
  };
  void deliver(const Frame& frame);
  // From a client, to every copy that runs.
  void request(int client, std::uint64_t number);

  // The one copy of the guest that runs, and whose output is not held but for protection; null:
  // none.
  Machine* running();

  const bool verbose;
  Random random;
  const Settings settings;
  Scheduler scheduler;
  std::array<Host, 2> hosts;
  Network network;
  Oracle oracle;
  std::array<std::unique_ptr<Storage>, 2> storages;
  std::array<std::unique_ptr<Arbiter>, 2> arbiters;  // as each host asks it
  std::function<void()> forget_fence;
  double arbiter_trouble = 0;  // the share of calls that get no answer
  std::vector<std::unique_ptr<Machine>> machines;
  std::set<int> started_elsewhere;  // whose copies were started, as the other host's log says
  std::vector<std::unique_ptr<Protection>> protections;
  std::vector<std::unique_ptr<Client>> clients;
  // Its backup was well when the primary's host lost its power: unless harm comes to it as well, it
  // has to take over.
  Protection* has_to_take_over = nullptr;

 private:
  void move_clocks();
};

// A client of the guest's service: asks, again and again until it is answered, and then the next.
class Client {
 public:
  Client(World& world, int number) : world_(world), number_(number) { ask(); }
  void hear(const World::Frame& frame);
  std::uint64_t answered() const { return answered_; }

 private:
  void ask();

  World& world_;
  const int number_;
  std::uint64_t answered_ = 0;
  std::vector<std::uint64_t> chains_;  // what came with each answer
};

}  // namespace specrep::sim
