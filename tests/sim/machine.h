#pragma once

#include <optional>
#include <set>

#include "parts.h"
#include "world.h"

namespace specrep::sim {

// A copy of the guest that runs, or ran, on one host, with its network card. Its program keeps all
// it knows in its memory: what it has told each client, and a chain over all requests, which also
// takes in what else is in its memory. So what a client hears tells what the guest knew.
class Machine {
 public:
  static constexpr unsigned kClientsMax = 4;

  // The first copy.
  Machine(World& world, Host& host, int number);
  // One that is started on `host` from what the backup had.
  Machine(World& world, Host& host, int number, const Restorer& from);

  bool runs() const { return exists && !paused && !guest.stopped && host.powered; }
  void request(int client, std::uint64_t number);

  // Output is held back from the end of the first epoch on.
  Output& hold_output();
  void let_out();  // and what was held
  void drop_held() {
    buffer.reset();
    drops_ = true;
  }
  bool holds() const { return buffer.has_value(); }
  void end();

  World& world;
  Host& host;
  const int number;  // as the oracle counts copies
  Guest guest;
  std::optional<Output> buffer;
  bool exists = true, paused = false;
  // Why it may stand still or be held until the operator has spoken.
  std::string held_because;

 private:
  struct Knowledge;
  void begin();
  void tick();
  void dirty();
  void write_disk();
  void scribble(Gfn gfn);
  Knowledge know() const;
  void learn(const Knowledge& knowledge);
  void send(int client, std::uint64_t request, std::uint64_t chain, bool knows_less);
  Gfn any_page() { return 1 + world.random.below(world.settings.pages - 1); }

  std::map<int, World::Frame> frames_;  // handed out, and held
  bool drops_ = false;
  std::uint64_t ticks_ = 0;
  Gfn scan_ = 1;
};

// What the recorded guests wrote in the first second of their traces: pages by sample. Read once.
const std::vector<std::vector<std::vector<Gfn>>>& traces();

}  // namespace specrep::sim
