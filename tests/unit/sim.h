#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "../sim/parts.h"

// A world without Xen for the core's tests: a clock that stands still until it is moved, a link in
// memory, disks that are numbers, and the parts of ../sim/parts.h.
namespace specrep::sim {

// One end of a link. What is sent waits at the other end until that side takes it.
class Link final : public wire::Link {
 public:
  explicit Link(ManualClock& clock) : clock_(clock), last_heard_(clock.now()) {}
  static void join(Link& a, Link& b) {
    a.other_ = &b;
    b.other_ = &a;
  }

  void send(wire::Message message) override {
    if (on_send) on_send(message);
    // Through bytes and back, as on a real link.
    std::vector<std::byte> bytes = wire::encode_head(message);
    bytes.insert(bytes.end(), message.payload.begin(), message.payload.end());
    std::vector<wire::Message> decoded;
    wire::Decoder decoder;
    decoder.feed(bytes, decoded);
    if (other_) other_->inbox_.push_back(std::move(decoded.at(0)));
  }
  std::size_t queued_bytes() const override { return queued; }
  TimePoint last_heard() const override { return last_heard_; }
  void heartbeat() { last_heard_ = clock_.now(); }
  Event wait(TimePoint) override {
    Event event;
    if (!inbox_.empty()) {
      event.message = std::move(inbox_.front());
      inbox_.pop_front();
      last_heard_ = clock_.now();
    }
    return event;
  }
  void wake() override {}
  bool empty() const { return inbox_.empty(); }

  std::function<void(const wire::Message&)> on_send;
  std::size_t queued = 0;  // bytes that the other side does not take

 private:
  ManualClock& clock_;
  TimePoint last_heard_;
  Link* other_ = nullptr;
  std::deque<wire::Message> inbox_;
};

// Disks whose writes are no more than their numbers.
class Disks final : public disk::EpochDisks {
 public:
  std::uint64_t missing_bytes() override { return missing; }
  std::vector<std::uint64_t> end_epoch(Epoch) override {
    if (broken) throw Error("the backup does not follow a disk any more");
    return marks;
  }
  void release(Epoch epoch) override { released = epoch; }
  double fill() override { return full; }
  void finish() noexcept override { finished = true; }

  std::vector<std::uint64_t> marks;
  std::uint64_t missing = 0;
  Epoch released = 0;
  double full = 0;
  bool broken = false, finished = false;
};

class Copies final : public replica::DiskCopies {
 public:
  explicit Copies(const Disks& disks) : disks_(disks) {}
  std::size_t count() const override { return disks_.marks.size(); }
  bool hold(const std::vector<std::uint64_t>& marks) const override {
    if (broken) throw Error("the disk is full");
    for (std::size_t i = 0; i < marks.size(); ++i)
      if (i >= held.size() || held[i] < marks[i]) return false;
    return true;
  }
  void commit(const std::vector<std::uint64_t>& marks) override { committed = marks; }

  std::vector<std::uint64_t> held, committed;
  bool broken = false;

 private:
  const Disks& disks_;
};

// Both halves of protection, joined.
struct World {
  explicit World(Gfn pages = 64, epoch::PrimaryOptions options = {},
                 replica::ReplicaOptions replica_options = {})
      : guest(clock, pages),
        engine(guest, primary_link, output, disks, clock, with_name(options), observer),
        replica(backup_link, restorer, copies, clock, with_name(replica_options)) {
    Link::join(primary_link, backup_link);
    output.guest_stopped = [this] { return guest.stopped; };
  }

  template <typename Options>
  static Options with_name(Options options) {
    options.guest_name = "g";
    return options;
  }

  // Lets both sides work until nothing is under way, then moves to when the primary wants to
  // go on.
  void turn() {
    const TimePoint next = engine.step();
    deliver();
    clock.advance_to(next);
    primary_link.heartbeat();
    backup_link.heartbeat();
  }
  void deliver() {
    while (!backup_link.empty() || !primary_link.empty()) {
      if (!backup_link.empty()) replica.handle(backup_link.wait({}));
      if (!primary_link.empty()) engine.handle(primary_link.wait({}));
    }
  }
  void run_until_committed(Epoch epoch) {
    for (int turns = 0; observer.committed < epoch; ++turns) {
      if (turns > 10'000) throw std::runtime_error("no progress");
      turn();
    }
  }

  ManualClock clock;
  Guest guest;
  Link primary_link{clock}, backup_link{clock};
  Restorer restorer;
  Observer observer;
  Output output;
  Disks disks;
  Copies copies{disks};
  epoch::PrimaryEngine engine;
  replica::Replica replica;
};

}  // namespace specrep::sim
