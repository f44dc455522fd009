#include "libspecrep/trace/replay.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <deque>
#include <unordered_map>

namespace specrep::trace {
namespace {

using namespace std::chrono_literals;

// Spreads a number over 64 bits (the finalizer of SplitMix64).
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Contents of a page of the trace, made up: they differ where the guest's did.
class PageContent {
 public:
  void write(const PageWrite& write) {
    if (write.packed == kZeroPage) {
      lines_.fill(Line{0, 0});
      return;
    }
    const int changed = std::popcount(write.lines);
    if (changed == 0) return;
    ++versions_;
    // Runs of zeros cost LZ4 about three bytes a line.
    const int bytes = write.packed * static_cast<int>(kPackedUnitBytes) / changed - 3;
    const auto random =
        static_cast<std::uint8_t>(std::clamp(bytes, 1, static_cast<int>(kLineBytes)));
    for (auto left = write.lines; left != 0; left &= left - 1)
      lines_[static_cast<std::size_t>(std::countr_zero(left))] = {versions_, random};
  }

  void copy(Gfn gfn, std::byte* out) const {
    std::memset(out, 0, kPageBytes);
    for (std::size_t i = 0; i < kLinesPerPage; ++i) {
      const Line line = lines_[i];
      const std::uint64_t seed = mix(gfn * kLinesPerPage + i + 1) + line.version;
      for (std::size_t at = 0; at < line.random; at += 8) {
        const std::uint64_t word = mix(seed + at * 0x9e3779b97f4a7c15u);
        std::memcpy(out + i * kLineBytes + at, &word, std::min(sizeof word, line.random - at));
      }
    }
  }

 private:
  struct Line {
    std::uint32_t version = 0;
    std::uint8_t random = kLineBytes;
  };
  std::uint32_t versions_ = 0;
  std::array<Line, kLinesPerPage> lines_{};
};

// The guest of a trace, stretched over the clock: an epoch of the engine's is one of the trace,
// however much longer the engine lets it run.
class TraceGuest final : public guest::Guest, public model::Oracle {
 public:
  TraceGuest(const std::string& path, const ReplayOptions& options, ManualClock& clock)
      : reader_(path), options_(options), clock_(clock) {
    const TraceHeader& header = reader_.header();
    const std::uint64_t own_us = header.epoch_ms() * std::uint64_t{1000};
    epoch_us_ = options.epoch == Duration{} ? own_us : microseconds(options.epoch);
    if (own_us == 0 || epoch_us_ == 0 || epoch_us_ % own_us != 0)
      throw Error(path + " was recorded for epochs of " + std::to_string(header.epoch_ms()) +
                      " ms, and cannot say what epochs of " +
                      std::to_string(static_cast<double>(epoch_us_) / 1000) + " ms are like",
                  "take a multiple of its own epoch, or record one with --epoch");
    have_next_ = reader_.next(next_sample_);
    begin_epoch(0);
  }

  const TraceHeader& header() const { return reader_.header(); }
  Duration epoch() const { return std::chrono::microseconds(epoch_us_); }
  std::uint64_t position_us() const { return begin_us_; }
  // Whether the trace has no whole epoch any more.
  bool finished() const { return samples_.empty() || samples_.back().time_us != end_us(); }

  Gfn gfn_count() const override { return reader_.header().gfn_count(); }
  std::vector<std::byte> stream_prologue() override { return std::vector<std::byte>(1); }
  void start_dirty_log() override {}
  void stop_dirty_log() noexcept override {}
  // What all policies pay alike is left out, but for as many pages as tell what the link carries:
  // it is known when the first epoch of a real guest begins, from the copy of all its memory.
  void populated(PageBitmap& present) override {
    present.clear();
    for (Gfn gfn = 0; gfn < std::min(kFirstCopyPages, gfn_count()); ++gfn) present.set(gfn);
  }
  std::vector<Gfn> special_pages() override { return {}; }
  void peek(PageBitmap& dirty) override { dirty.clear(); }

  void sample(PageBitmap& dirty) override {
    dirty.clear();
    if (!begun_) {
      // The last round of the first copy is a small one, which leaves the link idle.
      clock_.advance(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
          kFirstCopyPages * kPageBytes / options_.bandwidth_bytes_per_s)));
      return;
    }
    // A sample is taken for the one of the trace that it is nearest to.
    const std::uint64_t until_us =
        stopped_ ? end_us() : now_us() + reader_.header().finest_us() / 2;
    std::uint32_t cost_us = 0;
    for (; applied_ < samples_.size() && samples_[applied_].time_us <= until_us; ++applied_) {
      for (const PageWrite& write : samples_[applied_].pages) {
        contents_[write.gfn].write(write);
        dirty.set(write.gfn);
      }
      cost_us = samples_[applied_].cost_us;
    }
    if (!stopped_) clock_.advance(std::chrono::microseconds(cost_us));
  }

  void copy_pages(std::span<const Gfn> gfns, std::byte* out, std::uint8_t* present) override {
    for (std::size_t i = 0; i < gfns.size(); ++i) {
      contents_[gfns[i]].copy(gfns[i], out + i * kPageBytes);
      present[i] = 1;
    }
    if (!stopped_) clock_.advance(options_.page_cost * static_cast<std::int64_t>(gfns.size()));
  }

  void stop() override { stopped_ = true; }
  guest::State capture_state() override {
    guest::State state;
    state.hypervisor.resize(1);
    return state;
  }
  void resume() override {
    stopped_ = false;
    resumed_ = clock_.now();
    // The engine's first checkpoint ends its first copy; the trace begins there.
    if (begun_) begin_epoch(end_us());
    begun_ = true;
  }

  bool written_again(Gfn gfn) const override {
    const auto last = last_written_.find(gfn);
    return last != last_written_.end() && last->second >= applied_;
  }

 private:
  static constexpr Gfn kFirstCopyPages = 4096;

  std::uint64_t end_us() const { return begin_us_ + epoch_us_; }
  std::uint64_t now_us() const { return begin_us_ + microseconds(clock_.now() - resumed_); }

  void begin_epoch(std::uint64_t begin_us) {
    begin_us_ = begin_us;
    samples_.clear();
    last_written_.clear();
    applied_ = 0;
    while (have_next_ && next_sample_.time_us <= end_us()) {
      for (const PageWrite& write : next_sample_.pages) last_written_[write.gfn] = samples_.size();
      samples_.push_back(std::move(next_sample_));
      have_next_ = reader_.next(next_sample_);
    }
  }

  Reader reader_;
  const ReplayOptions& options_;
  ManualClock& clock_;
  std::uint64_t epoch_us_ = 0, begin_us_ = 0;
  bool begun_ = false, stopped_ = false;
  TimePoint resumed_{};
  Sample next_sample_;
  bool have_next_ = false;
  std::vector<Sample> samples_;  // of this epoch
  std::size_t applied_ = 0;      // as many of them have happened
  std::unordered_map<Gfn, std::size_t> last_written_;
  std::unordered_map<Gfn, PageContent> contents_;
};

// A link of a certain rate with a backup behind it that commits whatever it is sent.
class ReplayLink final : public wire::Link {
 public:
  ReplayLink(ManualClock& clock, double bytes_per_s)
      : clock_(clock), bytes_per_s_(bytes_per_s), free_at_(clock.now()) {}

  void send(wire::Message message) override {
    const auto bytes = message.payload.size() + message.envelope.ByteSizeLong();
    free_at_ =
        std::max(free_at_, clock_.now()) +
        Duration(static_cast<Duration::rep>(static_cast<double>(bytes) / bytes_per_s_ * 1e9));
    if (message.envelope.has_checkpoint())
      commits_.push_back({message.envelope.checkpoint().epoch(), free_at_ + kRoundTrip});
  }
  std::size_t queued_bytes() const override {
    const std::chrono::duration<double> left = free_at_ - clock_.now();
    return left.count() <= 0 ? 0 : static_cast<std::size_t>(left.count() * bytes_per_s_);
  }
  TimePoint last_heard() const override { return clock_.now(); }
  Event wait(TimePoint deadline) override {
    Event event;
    if (commits_.empty() || commits_.front().at > deadline) {
      clock_.advance_to(deadline);
      return event;
    }
    clock_.advance_to(commits_.front().at);
    event.message.emplace();
    event.message->envelope.mutable_commit()->set_epoch(commits_.front().epoch);
    commits_.pop_front();
    return event;
  }
  void wake() override {}

 private:
  static constexpr Duration kRoundTrip = 200us;
  struct Commit {
    Epoch epoch;
    TimePoint at;
  };
  ManualClock& clock_;
  const double bytes_per_s_;
  TimePoint free_at_;
  std::deque<Commit> commits_;
};

class Collector final : public epoch::PrimaryObserver {
 public:
  explicit Collector(std::vector<epoch::EpochReport>& reports) : reports_(reports) {}
  void on_first_copy(unsigned, std::uint64_t, std::uint64_t, std::uint64_t) override {}
  void on_disk_copy(std::uint64_t) override {}
  void on_checkpoint(const epoch::EpochReport& report) override {
    if (report.epoch > 1) reports_.push_back(report);
  }
  void on_commit(const wire::Commit&, Duration) override {}
  void on_verified(const wire::Verified&, std::uint64_t) override {}

 private:
  std::vector<epoch::EpochReport>& reports_;
};

}  // namespace

Replayed replay(const std::string& path, const ReplayOptions& options,
                const std::function<void(std::uint64_t)>& progress) {
  ManualClock clock;
  TraceGuest guest(path, options, clock);
  Replayed result;
  result.header = guest.header();
  result.epoch = guest.epoch();

  ReplayLink link(clock, options.bandwidth_bytes_per_s);
  Collector collector(result.epochs);
  epoch::PrimaryOptions primary;
  primary.guest_name = result.header.guest_name();
  primary.epoch.length = result.epoch;
  primary.policy = options.policy;
  primary.oracle = &guest;
  primary.delta_cache_pages = options.delta_cache_pages;
  output::NoBuffer no_buffer;
  disk::NoDisks no_disks;
  epoch::PrimaryEngine engine(guest, link, no_buffer, no_disks, clock, primary, collector);
  for (std::size_t done = 0; !guest.finished();) {
    engine.handle(link.wait(engine.step()));
    if (progress && result.epochs.size() != done) {
      done = result.epochs.size();
      progress(guest.position_us());
    }
  }
  if (result.epochs.empty())
    throw Error(path + " holds less than one epoch of " +
                std::to_string(static_cast<long>(milliseconds(result.epoch))) + " ms");
  return result;
}

epoch::Totals sum(const std::vector<epoch::EpochReport>& epochs) {
  epoch::Totals totals;
  for (const auto& epoch : epochs) totals += epoch;
  return totals;
}

}  // namespace specrep::trace
