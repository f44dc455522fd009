#include "machine.h"

#include <cstring>

#include "libspecrep/trace/trace.h"
#include "protection.h"

namespace specrep::sim {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kTraceUs = 1'000'000;
// Of a sample; the simulated guest is smaller than those that were recorded.
constexpr std::size_t kTracePagesMax = 24;

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  return Random(a ^ (b << 17 | b >> 47)).next();
}

}  // namespace

const std::vector<std::vector<std::vector<Gfn>>>& traces() {
  static const auto all = [] {
    std::vector<std::vector<std::vector<Gfn>>> all;
    for (const char* name : {"compiler", "redis", "oltp", "fileserver", "mail"}) {
      trace::Reader reader(std::string(SPECREP_TRACES) + "/" + name + "-100ms.trace");
      std::vector<std::vector<Gfn>>& samples = all.emplace_back();
      trace::Sample sample;
      while (reader.next(sample) && sample.time_us < kTraceUs) {
        std::vector<Gfn>& pages = samples.emplace_back();
        for (std::size_t i = 0; i < sample.pages.size() && i < kTracePagesMax; ++i)
          pages.push_back(sample.pages[i].gfn);
      }
    }
    return all;
  }();
  return all;
}

// All that the program knows, at the start of page 0.
struct Machine::Knowledge {
  std::uint64_t chain = 0;
  std::uint64_t disk_writes = 0;
  std::uint64_t told[kClientsMax] = {}, told_chain[kClientsMax] = {};
};

Machine::Machine(World& world, Host& host, int number)
    : world(world), host(host), number(number), guest(host.clock, world.settings.pages) {
  for (Gfn gfn = 1; gfn < guest.gfn_count(); ++gfn)
    if (world.random.chance(0.5)) scribble(gfn);
  begin();
}

Machine::Machine(World& world, Host& host, int number, const Restorer& from)
    : world(world), host(host), number(number), guest(host.clock, world.settings.pages) {
  for (const auto& [gfn, page] : from.memory) guest.write_bytes(gfn, 0, page);
  begin();
}

void Machine::begin() {
  if (world.settings.hole) guest.hole = guest.gfn_count() - 1;
  guest.on_stop = [this] {
    std::vector<std::byte> memory;
    memory.reserve(guest.gfn_count() * kPageBytes);
    for (Gfn gfn = 0; gfn < guest.gfn_count(); ++gfn) {
      const Page page = gfn == guest.hole ? Page(kPageBytes) : guest.page(gfn);
      memory.insert(memory.end(), page.begin(), page.end());
    }
    world.oracle.stands_still(number, std::move(memory));
  };
  // It runs on while its pages are copied.
  guest.before_copy = [this] {
    if (!guest.stopped && world.random.chance(0.5)) dirty();
  };
  tick();
}

void Machine::tick() {
  if (!exists) return;
  if (runs()) {
    dirty();
    write_disk();
  }
  world.scheduler.after(world.settings.tick, [this] { tick(); });
}

void Machine::scribble(Gfn gfn) {
  if (gfn == guest.hole) return;
  std::array<std::uint64_t, 8> line;
  for (auto& word : line) word = world.random.next();
  guest.write_bytes(gfn, world.random.below(kLinesPerPage) * kLineBytes,
                    std::as_bytes(std::span(line)));
}

void Machine::dirty() {
  ++ticks_;
  const Gfn pages = guest.gfn_count();
  switch (world.settings.habit) {
    case Habit::kQuiet:
      if (world.random.chance(0.1)) scribble(any_page());
      break;
    case Habit::kHot:
      for (Gfn gfn = 1; gfn < std::min<Gfn>(6, pages); ++gfn) scribble(gfn);
      if (world.random.chance(0.2)) scribble(any_page());
      break;
    case Habit::kScan:
      for (int i = 0; i < 3; ++i) {
        scan_ = scan_ % (pages - 1) + 1;
        if (scan_ != guest.hole)
          guest.write(scan_, static_cast<unsigned char>(world.random.below(3)));
      }
      break;
    case Habit::kSame: {  // stores what is there already, mostly
      const Gfn gfn = any_page();
      if (gfn == guest.hole) break;
      const Page page = guest.page(gfn);
      guest.write_bytes(gfn, 0, std::span(page).first(64));
      if (world.random.chance(0.3)) scribble(gfn);
      break;
    }
    case Habit::kTrace: {
      const auto& samples = traces()[world.settings.trace];
      for (const Gfn gfn : samples[ticks_ % samples.size()]) scribble(1 + gfn % (pages - 1));
      break;
    }
  }
}

Machine::Knowledge Machine::know() const {
  Knowledge knowledge;
  const Page page = guest.page(0);
  std::memcpy(&knowledge, page.data(), sizeof knowledge);
  return knowledge;
}

void Machine::learn(const Knowledge& knowledge) {
  guest.write_bytes(0, 0, std::as_bytes(std::span(&knowledge, 1)));
}

void Machine::request(int client, std::uint64_t request) {
  Knowledge knowledge = know();
  std::uint64_t& told = knowledge.told[client];
  std::uint64_t& told_chain = knowledge.told_chain[client];
  // A client asks for the next when it has heard the one before.
  if (request > told + 1) return send(client, request, 0, true);
  if (request == told + 1) {
    const Gfn gfn = 1 + knowledge.chain % (guest.gfn_count() - 1);
    std::uint64_t word = 0;
    if (gfn != guest.hole) std::memcpy(&word, guest.page(gfn).data(), sizeof word);
    knowledge.chain =
        mix(mix(knowledge.chain, word), mix(static_cast<std::uint64_t>(client), request));
    told = request;
    told_chain = knowledge.chain;
    learn(knowledge);
    scribble(gfn);
  }
  if (request == told) send(client, request, told_chain, false);
}

void Machine::write_disk() {
  if (!world.settings.has_disk || !world.random.chance(0.3)) return;
  Storage& storage = *world.storages[static_cast<std::size_t>(host.number)];
  if (!storage.server()) return;  // it waits
  Knowledge knowledge = know();
  const std::uint64_t drawn = mix(knowledge.disk_writes, knowledge.chain);
  constexpr std::size_t kSector = 512;
  const std::size_t bytes = kSector << drawn % 4;
  const std::size_t offset = (drawn >> 8) % ((Storage::kDiskBytes - bytes) / kSector) * kSector;
  std::vector<std::byte> data(bytes, static_cast<std::byte>(drawn >> 40));
  if (drawn % 16 == 0) std::fill(data.begin(), data.end(), std::byte{0});
  try {
    storage.server()->source.write(offset, data, false);
  } catch (const Error& error) {
    return world.log("disk write fails: " + std::string(error.what()));
  }
  world.oracle.writes(number, offset, data);
  ++knowledge.disk_writes;
  learn(knowledge);
}

void Machine::send(int client, std::uint64_t request, std::uint64_t chain, bool knows_less) {
  const int frame = world.oracle.sends(number);
  frames_[frame] = {client, request, chain, knows_less};
  if (drops_) return;
  const auto leave = [this](int sent) {
    const auto found = frames_.find(sent);
    if (found == frames_.end()) return;
    world.oracle.leaves(sent);
    world.deliver(found->second);
    frames_.erase(found);
  };
  if (!buffer) return leave(frame);
  buffer->on_sent = leave;
  buffer->send(frame);
}

Output& Machine::hold_output() {
  buffer.emplace();
  buffer->room = world.settings.buffer_frames;
  buffer->guest_stopped = [this] { return guest.stopped; };
  return *buffer;
}

void Machine::let_out() {
  world.log("the output of copy " + std::to_string(number) + " is let out");
  world.oracle.lets_out(number);
  if (buffer) buffer->open();
  buffer.reset();
  held_because.clear();
}

void Machine::end() {
  if (!exists) return;
  exists = false;
  // specrep-primary may not have noticed yet, and use it.
  if (buffer) buffer->on_sent = [](int) {};
  world.oracle.ends(number);
  world.log("copy " + std::to_string(number) + " is gone");
}

}  // namespace specrep::sim
