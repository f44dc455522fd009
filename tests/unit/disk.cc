// The parts of disk replication, each by itself.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <thread>

#include "folder.h"
#include "libspecrep/disk/backing.h"
#include "libspecrep/disk/intent_bitmap.h"
#include "libspecrep/disk/range_lock.h"
#include "libspecrep/disk/source.h"
#include "libspecrep/disk/target.h"
#include "libspecrep/error.h"

namespace specrep::disk {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::uint64_t kMib = 1 << 20;

// A disk with a cache that a power cut empties.
class Disk final : public Backing {
 public:
  explicit Disk(std::uint64_t bytes) : cached(bytes), stable(bytes) {}
  const std::string& path() const override { return name; }
  std::uint64_t size_bytes() const override { return cached.size(); }
  void read(std::uint64_t offset, std::span<std::byte> out) override {
    const std::lock_guard lock(mutex_);
    std::copy_n(cached.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) override {
    const std::lock_guard lock(mutex_);
    if (fails) throw Error("no space left on the disk");
    std::copy(data.begin(), data.end(), cached.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  void zero(const Extent& extent) override {
    const std::lock_guard lock(mutex_);
    std::fill_n(cached.begin() + static_cast<std::ptrdiff_t>(extent.offset), extent.length,
                std::byte{0});
  }
  void sync() override {
    if (before_sync) before_sync();
    const std::lock_guard lock(mutex_);
    stable = cached;
  }
  const std::string name = "disk";
  std::vector<std::byte> cached, stable;
  std::atomic<bool> fails = false;
  std::function<void()> before_sync;

 private:
  std::mutex mutex_;
};

Write write_of(std::uint64_t number, std::uint64_t offset, std::size_t bytes, int value) {
  return {number, {offset, bytes}, std::vector<std::byte>(bytes, static_cast<std::byte>(value))};
}

BOOST_AUTO_TEST_SUITE(disk)

BOOST_AUTO_TEST_CASE(requests_that_overlap_go_in_order_and_others_side_by_side) {
  RangeLock lock;
  std::optional<RangeLock::Held> first(std::in_place, lock, Extent{0, 4096});
  const RangeLock::Held beside(lock, {4096, 4096});  // would wait for ever
  std::vector<int> order;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const RangeLock::Held held(lock, {static_cast<std::uint64_t>(i) * 512, 4096 - 512u * i});
      const std::lock_guard guard(mutex);
      order.push_back(i);
    });
    std::this_thread::sleep_for(20ms);  // by then it waits
  }
  BOOST_TEST(order.empty());
  first.reset();
  for (auto& thread : threads) thread.join();
  BOOST_TEST(order == (std::vector<int>{0, 1, 2, 3}));
}

BOOST_AUTO_TEST_CASE(a_bitmap_keeps_its_bits) {
  Folder folder;
  const std::uint64_t bytes = 3 * kMib + 512;
  {
    IntentBitmap bitmap(folder / "b", bytes);
    BOOST_TEST(bitmap.chunks() == 4u);
    BOOST_TEST(bitmap.marked() == 0u);
    BOOST_TEST(bitmap.next_marked(0) == 4u);
    bitmap.mark({kMib - 1, 2});
    bitmap.mark({3 * kMib, 512});
    BOOST_TEST(bitmap.marked() == 3u);
    BOOST_TEST((bitmap.extent_of(3) == Extent{3 * kMib, 512}));
  }  // as a crash would: nothing is written at the end
  IntentBitmap again(folder / "b", bytes);
  BOOST_TEST(again.next_marked(0) == 0u);
  BOOST_TEST(again.next_marked(2) == 3u);
  again.clear(1);
  again.sync();
  BOOST_TEST(IntentBitmap(folder / "b", bytes).marked() == 2u);
}

BOOST_AUTO_TEST_CASE(a_page_of_a_bitmap_that_was_torn_counts_as_all_set) {
  Folder folder;
  const std::uint64_t bytes = 40'000 * kMib;  // two pages
  { IntentBitmap(folder / "b", bytes).mark({0, 1}); }
  const auto flip = [&](off_t at) {
    const int fd = open((folder / "b").c_str(), O_RDWR);
    char byte;
    BOOST_REQUIRE(pread(fd, &byte, 1, at) == 1);
    byte ^= 4;
    BOOST_REQUIRE(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
  };
  flip(2 * 4096 + 100);
  {
    IntentBitmap bitmap(folder / "b", bytes);
    BOOST_TEST(bitmap.marked() == 1 + (40'000 - 511 * 64));
  }
  flip(8);
  BOOST_CHECK_THROW(IntentBitmap(folder / "b", bytes), Error);
}

BOOST_AUTO_TEST_CASE(a_bitmap_of_another_disk_is_refused) {
  Folder folder;
  { IntentBitmap(folder / "b", 10 * kMib); }
  BOOST_CHECK_THROW(IntentBitmap(folder / "b", 20 * kMib), Error);
  std::ofstream(folder / "text") << "not a bitmap";
  BOOST_CHECK_THROW(IntentBitmap(folder / "text", 10 * kMib), Error);
}

BOOST_AUTO_TEST_CASE(many_mark_at_once) {
  Folder folder;
  const std::uint64_t bytes = 100'000 * kMib;
  {
    IntentBitmap bitmap(folder / "b", bytes);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 8; ++t)
      threads.emplace_back([&, t] {
        for (unsigned i = 0; i < 50; ++i) bitmap.mark({(i * 8 + t) * 200 * kMib, 512});
      });
    for (auto& thread : threads) thread.join();
  }
  BOOST_TEST(IntentBitmap(folder / "b", bytes).marked() == 400u);
}

BOOST_AUTO_TEST_CASE(a_file_is_read_written_and_zeroed) {
  Folder folder;
  { std::ofstream(folder / "disk") << std::string(3 * kMib, 'x'); }
  const auto backing = open_backing(folder / "disk");
  BOOST_TEST(backing->size_bytes() == 3 * kMib);
  std::vector<std::byte> data(1000, std::byte{7}), back(1000);
  backing->write(12'345, data);
  backing->read(12'345, back);
  BOOST_TEST((back == data));
  backing->zero({100, 2 * kMib});
  backing->sync();
  backing->read(12'345, back);
  BOOST_TEST((back == std::vector<std::byte>(1000)));
  backing->read(99, std::span(back).first(2));
  BOOST_TEST((back[0] == std::byte{'x'} && back[1] == std::byte{0}));
  BOOST_CHECK_THROW(backing->write(3 * kMib - 999, data), Error);
  BOOST_CHECK_THROW(backing->zero({~std::uint64_t{0}, 2}), Error);
  BOOST_CHECK_THROW(open_backing(folder / "disk"), Error);  // twice at a time
  BOOST_CHECK_THROW(open_backing(folder / "nowhere"), Error);
}

BOOST_AUTO_TEST_CASE(writes_take_effect_with_their_epoch_and_those_of_none_never) {
  Disk disk(16);
  Target target(disk, kMib, [] {});
  target.receive(write_of(1, 0, 4, 1));  // of the first copy
  target.commit(1);
  target.receive(write_of(2, 0, 2, 2));
  target.receive(write_of(3, 4, 2, 3));
  target.receive(write_of(4, 0, 1, 4));
  target.commit(3);
  target.receive({5, {2, 2}, {}});
  BOOST_TEST(target.held() == 5u);
  BOOST_TEST(target.activate() == 2u);
  const std::vector<int> expected = {2, 2, 1, 1, 3, 3, 0, 0};
  for (std::size_t i = 0; i < expected.size(); ++i)
    BOOST_TEST(std::to_integer<int>(disk.stable[i]) == expected[i], "byte " << i);
}

BOOST_AUTO_TEST_CASE(what_comes_before_the_first_commit_and_after_its_mark_is_kept_aside) {
  Disk disk(8);
  Target target(disk, kMib, [] {});
  target.receive(write_of(1, 0, 8, 1));
  target.keep_aside();
  target.receive(write_of(2, 0, 4, 2));
  target.commit(1);
  BOOST_TEST(target.activate() == 1u);
  BOOST_TEST(std::to_integer<int>(disk.stable[0]) == 1);
}

BOOST_AUTO_TEST_CASE(a_guest_that_lives_on_has_all_its_writes_here_too) {
  Disk disk(8);
  Target target(disk, kMib, [] {});
  target.commit(0);
  target.receive(write_of(1, 0, 8, 9));
  target.receive({2, {1, 2}, {}});
  target.settle();
  BOOST_TEST(target.durable() == 2u);
  BOOST_TEST(std::to_integer<int>(disk.stable[0]) == 9);
  BOOST_TEST(std::to_integer<int>(disk.stable[1]) == 0);
  BOOST_TEST(target.staged_bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(what_a_primary_may_not_send_is_refused) {
  Disk disk(16);
  const auto refused = [&](Write write) {
    Target target(disk, 8 + sizeof(Write), [] {});
    target.commit(0);
    BOOST_CHECK_THROW(target.receive(std::move(write)), Error);
    BOOST_TEST(target.held() == 0u);
  };
  refused(write_of(2, 0, 1, 1));   // not the next
  refused(write_of(1, 15, 2, 1));  // over the end
  refused({1, {~std::uint64_t{0}, 2}, {}});
  refused({1, {0, 4}, std::vector<std::byte>(3)});
  refused(write_of(1, 0, 9, 1));  // more than may be staged
  Target target(disk, 8, [] {});
  BOOST_CHECK_THROW(target.commit(1), Error);  // an epoch of which not all has come
}

// They have no bytes, and take memory all the same.
BOOST_AUTO_TEST_CASE(zeroes_that_wait_are_bounded) {
  constexpr std::uint64_t kWrites = 100;
  Disk disk(16);
  Target target(disk, kWrites * sizeof(Write), [] {});
  target.commit(0);
  for (std::uint64_t number = 1; number <= kWrites; ++number) target.receive({number, {0, 16}, {}});
  BOOST_CHECK_THROW(target.receive({kWrites + 1, {0, 16}, {}}), Error);
  target.commit(kWrites);
  target.receive({kWrites + 1, {0, 16}, {}});
}

BOOST_AUTO_TEST_CASE(a_disk_that_fails_is_told_and_never_activated) {
  Disk disk(16);
  std::promise<void> told;
  Target target(disk, kMib, [&, done = false]() mutable {
    if (!std::exchange(done, true)) told.set_value();
  });
  disk.fails = true;
  target.receive(write_of(1, 0, 4, 1));
  BOOST_REQUIRE((told.get_future().wait_for(10s) == std::future_status::ready));
  BOOST_CHECK_THROW(target.commit(1), Error);
  BOOST_CHECK_THROW(target.receive(write_of(2, 0, 4, 1)), Error);
  BOOST_CHECK_THROW(target.activate(), Error);
  BOOST_TEST(target.durable() == 0u);
}

// Random writes, epochs and a failover at any point: the disk is what it was at the last commit.
BOOST_AUTO_TEST_CASE(an_activated_disk_is_that_of_the_last_commit) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      constexpr std::size_t kBytes = 64;
      Disk disk(kBytes);
      std::vector<std::byte> running(kBytes), committed(kBytes);
      Target target(disk, kMib, [] {});
      target.commit(0);
      for (std::uint64_t number = 1, turns = random() % 100; number <= turns; ++number) {
        const std::size_t offset = random() % kBytes, bytes = 1 + random() % (kBytes - offset);
        const int value = static_cast<int>(random() % 5);
        Write write = write_of(number, offset, bytes, value);
        if (value == 0) write.data.clear();
        std::fill_n(running.begin() + static_cast<std::ptrdiff_t>(offset), bytes,
                    static_cast<std::byte>(value));
        target.receive(std::move(write));
        if (random() % 4 == 0) {
          target.commit(number);
          committed = running;
        }
      }
      target.activate();
      BOOST_TEST((disk.stable == committed));
    }
  }
}

// The way to the other copy: a queue, and a thread that plays the backup's side.
class Wire final : public Sink {
 public:
  Wire(Source& source, Target& target) : source_(source), target_(target) {
    source.attach(*this);  // before the other side says anything
    thread_ = std::thread([this] { run(); });
  }
  ~Wire() override { cut(); }
  void send(Write write) override {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(write));
    changed_.notify_all();
  }
  // What is on the way is lost.
  void cut() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  void hold(bool on) {
    const std::lock_guard lock(mutex_);
    holds_ = on;
    changed_.notify_all();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait_for(lock, 1ms, [&] { return over_ || (!queue_.empty() && !holds_); });
      if (over_) return;
      source_.durable(target_.durable());
      if (queue_.empty() || holds_) continue;
      Write write = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      target_.receive(std::move(write));
      source_.held(target_.held());
      lock.lock();
    }
  }
  Source& source_;
  Target& target_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Write> queue_;
  bool over_ = false, holds_ = false;
  std::thread thread_;
};

constexpr std::uint64_t kDiskBytes = 8 * kMib;

// The primary's copy.
struct Copy {
  Folder folder;
  Disk here{kDiskBytes};
  IntentBitmap bitmap{folder / "b", kDiskBytes};
  Source source{here, bitmap};
};

void write_at_random(Source& source, unsigned seed, int writes) {
  std::mt19937 random(seed);
  for (int i = 0; i < writes; ++i) {
    const std::size_t bytes = 512u << random() % 6;
    const std::uint64_t offset = random() % (kDiskBytes / 512 - 64) * 512;
    if (random() % 8 == 0) {
      source.zero({offset, bytes}, false);
    } else {
      const std::vector<std::byte> data(bytes, static_cast<std::byte>(1 + random() % 255));
      source.write(offset, data, random() % 16 == 0);
    }
    if (random() % 50 == 0) source.forget_durable();
  }
}

void write_from_several_threads(Source& source, unsigned seed) {
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t)
    threads.emplace_back([&, t] { write_at_random(source, seed * 3 + t, 150); });
  for (auto& thread : threads) thread.join();
}

BOOST_FIXTURE_TEST_CASE(both_copies_are_alike_after_any_number_of_breaks, Copy) {
  Disk there(kDiskBytes);
  for (unsigned round = 0; round < 6; ++round) {
    write_from_several_threads(source, 100 + round);  // while there is no other side
    Target target(there, 64 * kMib, [] {});
    Wire wire(source, target);
    write_from_several_threads(source, 200 + round);
    if (round % 2 == 0) {  // the link breaks, with writes on their way
      wire.hold(true);
      std::thread late([&] { write_from_several_threads(source, 300 + round); });
      std::this_thread::sleep_for(5ms);
      wire.cut();
      source.detach();
      late.join();
      target.settle();
      continue;
    }
    while (source.chunks_to_send() > 0) std::this_thread::sleep_for(1ms);
    source.flush();
    source.detach();
    wire.cut();
    target.settle();
    BOOST_TEST((here.cached == there.stable));
    BOOST_TEST(bitmap.marked() > 0u);
  }
}

BOOST_FIXTURE_TEST_CASE(marks_go_when_the_other_side_has_all_on_stable_storage, Copy) {
  Disk there(kDiskBytes);
  Target target(there, 64 * kMib, [] {});
  Wire wire(source, target);
  source.write(3 * kMib, std::vector<std::byte>(512, std::byte{1}), true);
  BOOST_TEST(bitmap.marked() == 1u);
  for (int i = 0; i < 10'000 && bitmap.marked() > 0; ++i) {
    source.forget_durable();
    std::this_thread::sleep_for(1ms);
  }
  BOOST_TEST(bitmap.marked() == 0u);
  wire.cut();
  source.detach();
}

// Another side, which says nothing by itself.
class Silent final : public Sink {
 public:
  explicit Silent(Source& source) {
    source.attach(*this);
    while (!source.in_sync()) std::this_thread::sleep_for(1ms);
  }
  void send(Write) override {}
};

BOOST_FIXTURE_TEST_CASE(marks_of_what_was_on_stable_storage_go_after_the_end_of_the_link_too,
                        Copy) {
  Silent there(source);
  const std::vector<std::byte> data(512, std::byte{1});
  for (const std::uint64_t chunk : {2, 3, 4}) source.write(chunk * kMib, data, false);
  source.held(3);
  source.durable(2);
  source.detach();
  source.write(3 * kMib, data, false);
  source.forget_durable();
  BOOST_TEST(bitmap.marked() == 2u);
  BOOST_TEST(bitmap.next_marked(0) == 3u);
  BOOST_TEST(bitmap.next_marked(4) == 4u);
}

BOOST_FIXTURE_TEST_CASE(a_mark_stays_when_the_write_of_an_earlier_link_had_the_same_number, Copy) {
  Silent first(source);
  // As many writes as messages that a chunk takes.
  constexpr std::uint64_t kMessages = IntentBitmap::kChunkBytes / kWriteBytesMax;
  for (std::uint64_t i = 0; i < kMessages; ++i)
    source.write(3 * kMib, std::vector<std::byte>(512, std::byte{1}), false);
  source.held(kMessages);
  source.durable(kMessages);
  std::promise<void> in_sync, go_on;
  here.before_sync = [&] {
    in_sync.set_value();
    go_on.get_future().wait();
  };
  auto forgets = std::async(std::launch::async, [&] { source.forget_durable(); });
  in_sync.get_future().wait();
  source.detach();
  Silent second(source);  // is sent the chunk, and may not have it yet
  BOOST_REQUIRE(source.mark() == kMessages);
  go_on.set_value();
  forgets.get();
  BOOST_TEST(bitmap.marked() == 1u);
  source.detach();
}

BOOST_FIXTURE_TEST_CASE(a_flush_waits_for_the_other_side_and_not_for_one_that_is_lost, Copy) {
  Disk there(kDiskBytes);
  source.flush();  // alone
  Target target(there, 64 * kMib, [] {});
  Wire wire(source, target);
  wire.hold(true);
  source.write(0, std::vector<std::byte>(512, std::byte{1}), false);
  auto flushed = std::async(std::launch::async, [&] { source.flush(); });
  BOOST_TEST((flushed.wait_for(50ms) == std::future_status::timeout));
  wire.hold(false);
  BOOST_TEST((flushed.wait_for(10s) == std::future_status::ready));
  BOOST_TEST(target.held() >= 1u);
  BOOST_TEST((here.stable[0] == std::byte{1}));
  wire.hold(true);
  source.write(0, std::vector<std::byte>(512, std::byte{2}), false);
  flushed = std::async(std::launch::async, [&] { source.flush(); });
  BOOST_TEST((flushed.wait_for(50ms) == std::future_status::timeout));
  wire.cut();
  source.detach();
  BOOST_TEST((flushed.wait_for(10s) == std::future_status::ready));
}

BOOST_FIXTURE_TEST_CASE(what_a_backup_may_not_say_is_refused, Copy) {
  Disk there(kDiskBytes);
  Target target(there, 64 * kMib, [] {});
  Wire wire(source, target);
  BOOST_CHECK_THROW(source.held(1), Error);
  BOOST_CHECK_THROW(source.durable(1), Error);
  wire.cut();
  source.detach();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::disk
