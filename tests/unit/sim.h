#pragma once

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "libspecrep/epoch/primary_engine.h"
#include "libspecrep/replica/replica.h"
#include "libspecrep/wire/digests.h"
#include "libspecrep/wire/page_codec.h"

// A world without Xen for the core's tests: a clock that stands still until it is moved, a
// guest whose memory is an array, a link in memory, and a backup whose domain is a map.
namespace specrep::sim {

using Page = std::vector<std::byte>;

class Guest final : public guest::Guest {
 public:
  Guest(ManualClock& clock, Gfn pages)
      : clock_(clock), memory_(pages * kPageBytes), dirty_(pages) {}

  void write(Gfn gfn, unsigned char value) {
    std::memset(memory_.data() + gfn * kPageBytes, value, kPageBytes);
    dirty_.set(gfn);
  }
  // One 64-byte line of a page.
  void write_line(Gfn gfn, std::size_t line, unsigned char value) {
    std::memset(memory_.data() + gfn * kPageBytes + line * 64, value, 64);
    dirty_.set(gfn);
  }
  Page page(Gfn gfn) const {
    const auto at = memory_.begin() + static_cast<std::ptrdiff_t>(gfn * kPageBytes);
    return {at, at + kPageBytes};
  }

  Gfn gfn_count() const override { return dirty_.gfn_count(); }
  std::vector<std::byte> stream_prologue() override { return {std::byte{'P'}}; }
  void start_dirty_log() override { logging = true; }
  void stop_dirty_log() noexcept override { logging = false; }
  void populated(PageBitmap& present) override {
    present.clear();
    for (Gfn gfn = 0; gfn < gfn_count(); ++gfn)
      if (gfn != hole) present.set(gfn);
  }
  void sample(PageBitmap& dirty) override {
    dirty = dirty_;
    dirty_.clear();
    ++samples;
  }
  void peek(PageBitmap& dirty) override { dirty = dirty_; }
  void copy_pages(std::span<const Gfn> gfns, std::byte* out, std::uint8_t* present) override {
    if (before_copy) before_copy();
    for (std::size_t i = 0; i < gfns.size(); ++i) {
      present[i] = gfns[i] != hole;
      if (present[i])
        std::memcpy(out + i * kPageBytes, memory_.data() + gfns[i] * kPageBytes, kPageBytes);
    }
  }
  std::vector<Gfn> special_pages() override { return special; }
  void stop() override {
    if (refuse_to_stop) throw Error("the guest does not suspend");
    if (ended) throw guest::Ended("the guest has shut down");
    clock_.advance(std::chrono::milliseconds(1));
    stopped = true;
    if (on_stop) on_stop();
  }
  guest::State capture_state() override {
    if (fail_capture) throw Error("no state");
    guest::State state;
    state.hypervisor = {std::byte{'H'}};
    state.addresses = addresses;
    return state;
  }
  void resume() override { stopped = false; }

  std::function<void()> before_copy, on_stop;
  Gfn hole = ~Gfn{0};
  std::vector<Gfn> special;
  bool logging = false, stopped = false, refuse_to_stop = false, ended = false,
       fail_capture = false;
  std::vector<guest::CardAddress> addresses;
  unsigned samples = 0;

 private:
  ManualClock& clock_;
  std::vector<std::byte> memory_;
  PageBitmap dirty_;
};

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
  std::size_t queued_bytes() const override { return 0; }
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

 private:
  ManualClock& clock_;
  TimePoint last_heard_;
  Link* other_ = nullptr;
  std::deque<wire::Message> inbox_;
};

class Restorer final : public replica::Restorer {
 public:
  void begin(const wire::Start& start, std::vector<std::byte> prologue) override {
    guest_name = start.guest_name();
    begun = !prologue.empty();
  }
  void load(wire::Message message, Gfn gfn_count) override {
    wire::PageDecoder(gfn_count, 0).decode(message, [this](Gfn gfn, const std::byte* page) {
      put(gfn, page);
    });
  }
  void apply(replica::CommittedEpoch epoch) override {
    for (const auto& page : epoch.pages.sorted()) put(page.gfn, page.data);
    addresses = epoch.state.addresses;
    applied = epoch.epoch;
  }
  replica::Comparison compare(const wire::DigestsView& digests) override {
    replica::Comparison result;
    for (std::size_t i = 0; i < digests.gfns.size(); ++i) {
      std::byte digest[wire::kDigestBytes];
      wire::digest_page(memory.at(digests.gfns[i]).data(), digest);
      ++result.pages_compared;
      if (std::memcmp(digest, digests.digests.data() + i * wire::kDigestBytes, sizeof digest)) {
        ++result.pages_different;
        result.first_different.push_back(digests.gfns[i]);
      }
    }
    return result;
  }
  std::uint64_t queued_epochs() const override { return 0; }
  void activate() override { activated = true; }
  void discard() noexcept override { discarded = true; }

  std::map<Gfn, Page> memory;
  std::string guest_name;
  std::vector<guest::CardAddress> addresses;
  Epoch applied = 0;
  bool begun = false, activated = false, discarded = false;

 private:
  void put(Gfn gfn, const std::byte* data) { memory[gfn].assign(data, data + kPageBytes); }
};

class Observer final : public epoch::PrimaryObserver {
 public:
  void on_first_copy(unsigned, std::uint64_t, std::uint64_t, std::uint64_t) override {}
  void on_disk_copy(std::uint64_t missing_bytes) override { missing.push_back(missing_bytes); }
  void on_checkpoint(const epoch::EpochReport& report) override { reports.push_back(report); }
  void on_commit(const wire::Commit& commit, Duration) override { committed = commit.epoch(); }
  void on_verified(const wire::Verified& result, std::uint64_t left_out) override {
    verified.push_back(result);
    this->left_out = left_out;
  }
  std::vector<epoch::EpochReport> reports;
  std::vector<wire::Verified> verified;
  std::vector<std::uint64_t> missing;
  std::uint64_t left_out = 0;
  Epoch committed = 0;
};

// Numbers for frames: those that the guest has handed out, by the epoch in which it did.
class Output final : public output::OutputBuffer {
 public:
  void send(int frame) { held_.back().push_back(frame); }
  void end_epoch(Epoch epoch) override {
    if (epoch != ended + 1) throw std::logic_error("epochs end in order");
    ended = epoch;
    if (!guest_stopped()) throw std::logic_error("the guest runs while its epoch ends");
    if (epoch == 1) {  // nothing is held before
      for (const int frame : held_.back()) sent.push_back(frame);
      held_.back().clear();
    }
    held_.emplace_back();
  }
  void release(Epoch epoch) override {
    if (epoch != released + 1 || epoch > ended) throw std::logic_error("released out of order");
    released = epoch;
    for (const int frame : held_.front()) sent.push_back(frame);
    held_.pop_front();
  }
  double fill() override { return full; }

  std::function<bool()> guest_stopped = [] { return true; };
  std::vector<int> sent;
  Epoch ended = 0, released = 0;
  double full = 0;

 private:
  std::deque<std::vector<int>> held_{1};
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
        replica(backup_link, restorer, copies, clock, replica_options) {
    Link::join(primary_link, backup_link);
    output.guest_stopped = [this] { return guest.stopped; };
  }

  static epoch::PrimaryOptions with_name(epoch::PrimaryOptions options) {
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
