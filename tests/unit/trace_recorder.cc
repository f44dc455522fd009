// The recorder over a simulated guest.
#include "libspecrep/trace/recorder.h"

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <optional>

#include "tests/unit/sim.h"

namespace specrep::trace {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kAll = ~std::uint64_t{0};

// A guest that can be written to in single lines.
class LineGuest final : public guest::Guest {
 public:
  LineGuest(ManualClock& clock, Gfn pages)
      : clock_(clock), memory_(pages * kPageBytes), dirty_(pages) {}

  void touch(Gfn gfn) { dirty_.set(gfn); }
  // A line that is `seed` pseudo-random bytes.
  void write_line(Gfn gfn, unsigned line, unsigned seed) {
    for (unsigned i = 0; i < kLineBytes; ++i) {
      seed = seed * 1103515245 + 12345;
      memory_[gfn * kPageBytes + line * kLineBytes + i] = static_cast<std::byte>(seed >> 16);
    }
    touch(gfn);
  }
  void write_byte(Gfn gfn, std::size_t at, int value) {
    memory_[gfn * kPageBytes + at] = static_cast<std::byte>(value);
    touch(gfn);
  }
  void fill(Gfn gfn, int value) {
    std::memset(memory_.data() + gfn * kPageBytes, value, kPageBytes);
    touch(gfn);
  }

  Gfn gfn_count() const override { return dirty_.gfn_count(); }
  std::vector<std::byte> stream_prologue() override { return {}; }
  void start_dirty_log() override { logging = true; }
  void stop_dirty_log() noexcept override { logging = false; }
  void populated(PageBitmap& present) override {
    if (fail_populated) throw Error("no page types");
    present.clear();
    for (Gfn gfn = 0; gfn < gfn_count(); ++gfn)
      if (gfn != hole) present.set(gfn);
  }
  void sample(PageBitmap& dirty) override {
    if (fail_sample) throw Error("no log");
    clock_.advance(300us);
    dirty = dirty_;
    dirty_.clear();
  }
  void peek(PageBitmap&) override {}
  void copy_pages(std::span<const Gfn> gfns, std::byte* out, std::uint8_t* present) override {
    if (fail_copy) throw Error("no memory");
    clock_.advance(5ms);
    for (std::size_t i = 0; i < gfns.size(); ++i) {
      present[i] = gfns[i] != hole;
      if (present[i])
        std::memcpy(out + i * kPageBytes, memory_.data() + gfns[i] * kPageBytes, kPageBytes);
    }
    if (on_copy) on_copy();
  }
  std::vector<Gfn> special_pages() override { return {}; }
  void stop() override { throw Error("the recorder never stops a guest"); }
  guest::State capture_state() override { return {}; }
  void resume() override {}

  Gfn hole = ~Gfn{0};
  bool logging = false, fail_sample = false, fail_copy = false, fail_populated = false;
  std::function<void()> on_copy;

 private:
  ManualClock& clock_;
  std::vector<std::byte> memory_;
  PageBitmap dirty_;
};

struct World {
  explicit World(Gfn pages = 600, std::size_t old_pages_bytes = 1 << 20) : guest(clock, pages) {
    options.epoch_ms = 10;
    options.finest_us = 1000;
    options.old_pages_bytes = old_pages_bytes;
  }

  void begin() {
    recorder.emplace(guest, clock,
                     Recorder::Hooks{[this] { paused += 1; }, [this] { paused -= 1; },
                                     [this](const Sample& sample) {
                                       BOOST_TEST(paused == 1);
                                       samples.push_back(sample);
                                       if (fail_sink) throw Error("the disk is full");
                                     }},
                     options);
    BOOST_TEST(guest.logging);
    while (recorder->pages_read() < recorder->pages_total()) {
      recorder->step();
      BOOST_TEST(paused == 0);
    }
    due = recorder->step();
    BOOST_TEST(samples.empty());
  }
  // Lets the guest run until the next sample, which it returns.
  Sample next(Duration late = 0us) {
    BOOST_TEST(paused == 0);
    clock.advance_to(due + late);
    due = recorder->step();
    BOOST_TEST(paused == 0);
    return samples.back();
  }

  ManualClock clock;
  LineGuest guest;
  RecorderOptions options;
  std::optional<Recorder> recorder;
  TimePoint due{};
  int paused = 0;
  bool fail_sink = false;
  std::vector<Sample> samples;
};

BOOST_AUTO_TEST_SUITE(trace_recorder)

BOOST_AUTO_TEST_CASE(samples_are_due_on_the_grid_in_the_guests_time) {
  World world;
  world.begin();
  std::uint64_t ran = 0;
  for (const std::uint64_t due : {2000, 6000, 8000, 9000, 10000, 12000, 16000}) {
    world.guest.fill(1, static_cast<int>(due / 1000));
    const Sample sample = world.next();
    BOOST_TEST(sample.time_us == due);
    BOOST_TEST(sample.cost_us == 300u);
    ran += sample.ran_us;
    BOOST_TEST(ran == due);
  }
  BOOST_TEST(world.recorder->epochs() == 1u);
  BOOST_TEST(world.recorder->samples() == 7u);
  BOOST_TEST(world.recorder->pages_written() == 7u);
  BOOST_TEST(world.recorder->cleaning().count() == Duration(300us).count());
  BOOST_TEST(world.recorder->comparing().count() == Duration(5ms).count());
}

BOOST_AUTO_TEST_CASE(lateness_is_told_and_does_not_add_up) {
  World world;
  world.begin();
  BOOST_TEST(world.next(500us).ran_us == 2500u);
  BOOST_TEST(world.next().ran_us == 3500u);
  BOOST_TEST(world.next(1500us).ran_us == 3500u);  // at 9500
  const Sample overdue = world.next();
  BOOST_TEST(overdue.time_us == 9000u);
  BOOST_TEST(overdue.ran_us == 0u);
  BOOST_TEST(world.next().ran_us == 500u);
  // Too early is not due.
  const TimePoint due = world.due;
  BOOST_TEST((world.recorder->step() == due));
  BOOST_TEST(world.samples.size() == 5u);
}

BOOST_AUTO_TEST_CASE(changed_lines_against_the_first_reading) {
  World world;
  for (Gfn gfn = 0; gfn < 600; ++gfn) world.guest.write_line(gfn, 5, static_cast<unsigned>(gfn));
  world.begin();
  world.guest.touch(3);
  world.guest.write_line(7, 0, 99);
  world.guest.write_line(7, 63, 98);
  world.guest.write_byte(599, 64 * 40 + 63, 1);
  const Sample sample = world.next();
  BOOST_TEST_REQUIRE(sample.pages.size() == 3u);
  BOOST_TEST((sample.pages[0] == PageWrite{3, 0, 0}));
  BOOST_TEST(sample.pages[1].gfn == 7u);
  BOOST_TEST(sample.pages[1].lines == (1 | std::uint64_t{1} << 63));
  BOOST_TEST(sample.pages[1].packed == 8u);  // nothing old at hand, and random: does not pack
  BOOST_TEST(sample.pages[2].gfn == 599u);
  BOOST_TEST(sample.pages[2].lines == std::uint64_t{1} << 40);
  BOOST_TEST(sample.pages[2].packed >= 1u);
  BOOST_TEST(sample.pages[2].packed <= 4u);
  BOOST_TEST(world.next().pages.empty());
}

BOOST_AUTO_TEST_CASE(changes_are_packed_against_the_old_page) {
  World world;
  world.begin();
  for (unsigned line = 0; line < 64; ++line) world.guest.write_line(7, line, line + 1);
  // Random and new: 256 units, of which 254 can be said.
  BOOST_TEST((world.next().pages.at(0) == PageWrite{7, kAll, kPackedMax}));
  // One byte in each line: the XOR is nearly empty.
  for (unsigned line = 0; line < 64; ++line) world.guest.write_byte(7, line * 64, 1);
  const PageWrite page = world.next().pages.at(0);
  BOOST_TEST(page.lines == kAll);
  BOOST_TEST(page.packed > 0u);
  BOOST_TEST(page.packed < 40u);
  // And the old page is kept up: back to what it was is as small a change.
  for (unsigned line = 0; line < 64; ++line) world.guest.write_line(7, line, line + 1);
  BOOST_TEST(world.next().pages.at(0).packed < 40u);
}

BOOST_AUTO_TEST_CASE(old_pages_are_bounded) {
  World world(600, 2 * kPageBytes);
  world.begin();
  const auto rewrite = [&](Gfn gfn) {
    for (unsigned line = 0; line < 64; ++line)
      world.guest.write_line(gfn, line, static_cast<unsigned>(gfn) + line);
  };
  for (const Gfn gfn : {1, 2, 3}) rewrite(gfn);
  world.next();
  for (const Gfn gfn : {2, 3})
    for (unsigned line = 0; line < 64; ++line) world.guest.write_byte(gfn, line * 64, 1);
  for (const PageWrite& page : world.next().pages) BOOST_TEST(page.packed < 40u);
  // The first went when the third came.
  for (unsigned line = 0; line < 64; ++line) world.guest.write_byte(1, line * 64, 1);
  BOOST_TEST(world.next().pages.at(0).packed == kPackedMax);
}

BOOST_AUTO_TEST_CASE(zero_pages) {
  World world;
  world.guest.fill(4, 1);
  world.begin();
  world.guest.touch(2);
  world.guest.fill(4, 0);
  Sample sample = world.next();
  BOOST_TEST((sample.pages.at(0) == PageWrite{2, 0, kZeroPage}));
  BOOST_TEST((sample.pages.at(1) == PageWrite{4, kAll, kZeroPage}));
}

BOOST_AUTO_TEST_CASE(pages_come_and_go) {
  World world;
  world.guest.hole = 9;
  world.begin();
  world.guest.touch(9);
  BOOST_TEST(world.next().pages.empty());
  world.guest.hole = 10;
  world.guest.fill(9, 7);
  world.guest.fill(10, 7);
  const Sample sample = world.next();
  BOOST_TEST(sample.pages.size() == 1u);
  BOOST_TEST(sample.pages[0].gfn == 9u);
  BOOST_TEST(sample.pages[0].lines == kAll);  // never seen before
}

BOOST_AUTO_TEST_CASE(writes_during_the_first_reading_are_no_part_of_the_trace) {
  World world;
  int copies = 0;
  world.guest.on_copy = [&] {
    if (++copies == 1) world.guest.fill(0, 5);
  };
  world.begin();
  world.guest.touch(0);
  BOOST_TEST((world.next().pages.at(0) == PageWrite{0, 0, 0}));
}

BOOST_AUTO_TEST_CASE(what_is_recorded_can_be_written) {
  World world;
  world.begin();
  const std::string path = "recorder-test-" + std::to_string(getpid()) + ".trace";
  TraceHeader header;
  header.set_gfn_count(600);
  Writer writer(path, header);
  for (unsigned i = 0; i < 20; ++i) {
    for (Gfn gfn = 0; gfn < 600; gfn += 1 + i) {
      world.guest.write_line(gfn, i, i);
      if (gfn % 3 == 0) world.guest.fill(gfn, static_cast<int>(i % 2));
    }
    writer.append(world.next());
  }
  writer.finish();
  Reader reader(path);
  Sample sample;
  for (const Sample& expected : world.samples)
    BOOST_TEST((reader.next(sample) && sample == expected));
  BOOST_TEST(!reader.next(sample));
  std::remove(path.c_str());
}

BOOST_AUTO_TEST_CASE(the_guest_runs_after_any_error) {
  for (const bool at_start : {true, false}) {
    for (int which = 0; which < 3; ++which) {
      if (at_start && which == 2) continue;  // no sample is handed out there
      World world;
      if (!at_start) world.begin();
      world.guest.fill(1, 1);
      bool& fail = which == 0   ? world.guest.fail_sample
                   : which == 1 ? world.guest.fail_copy
                                : world.fail_sink;
      fail = true;
      if (at_start)
        BOOST_CHECK_THROW(world.begin(), Error);
      else
        BOOST_CHECK_THROW(world.next(), Error);
      BOOST_TEST(world.paused == 0);
      world.recorder.reset();
      BOOST_TEST(!world.guest.logging);
    }
  }
  World world;
  world.guest.fail_populated = true;
  BOOST_CHECK_THROW(world.begin(), Error);
  BOOST_TEST(!world.guest.logging);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::trace
