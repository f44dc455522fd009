#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "libspecrep/epoch/primary_engine.h"
#include "libspecrep/replica/replica.h"
#include "libspecrep/wire/digests.h"
#include "libspecrep/wire/page_codec.h"

// What stands in for Xen and the kernel in the core's tests and in the simulation: a guest whose
// memory is an array, a backup whose domain is a map, and a buffer of numbered frames.
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
  void write_bytes(Gfn gfn, std::size_t offset, std::span<const std::byte> bytes) {
    std::memcpy(memory_.data() + gfn * kPageBytes + offset, bytes.data(), bytes.size());
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
  void on_hand_over(Duration stopped) override { stood_still = stopped; }
  void on_hand_over_failed(const Error& why) override { refusals.push_back(why.what()); }
  std::optional<Duration> stood_still;
  std::vector<std::string> refusals;
  std::vector<epoch::EpochReport> reports;
  std::vector<wire::Verified> verified;
  std::vector<std::uint64_t> missing;
  std::uint64_t left_out = 0;
  Epoch committed = 0;
};

// Numbers for frames: those that the guest has handed out, by the epoch in which it did.
class Output final : public output::OutputBuffer {
 public:
  // Drops the frame when there is no room.
  void send(int frame) {
    if (held_frames() < room) held_.back().push_back(frame);
  }
  void end_epoch(Epoch epoch) override {
    if (epoch != ended + 1) throw std::logic_error("epochs end in order");
    ended = epoch;
    if (!guest_stopped()) throw std::logic_error("the guest runs while its epoch ends");
    if (epoch == 1) {  // nothing is held before
      leave(held_.back());
    }
    held_.emplace_back();
  }
  void release(Epoch epoch) override {
    if (epoch != released + 1 || epoch > ended) throw std::logic_error("released out of order");
    released = epoch;
    leave(held_.front());
    held_.pop_front();
  }
  double fill() override {
    return std::max(full, static_cast<double>(held_frames()) / static_cast<double>(room));
  }
  // All that is held leaves.
  void open() {
    for (auto& frames : held_) leave(frames);
  }

  std::function<bool()> guest_stopped = [] { return true; };
  std::function<void(int)> on_sent = [this](int frame) { sent.push_back(frame); };
  std::vector<int> sent;
  std::size_t room = 1'000'000;  // frames
  Epoch ended = 0, released = 0;
  double full = 0;

 private:
  std::size_t held_frames() const {
    std::size_t frames = 0;
    for (const auto& epoch : held_) frames += epoch.size();
    return frames;
  }
  void leave(std::vector<int>& frames) {
    for (const int frame : std::exchange(frames, {})) on_sent(frame);
  }

  std::deque<std::vector<int>> held_{1};
};

}  // namespace specrep::sim
