// Both ends of a disk's link, over the real link, on files; and what they make of their records.
#include <stdlib.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <future>
#include <random>
#include <thread>

#include "folder.h"
#include "libspecrep/disk/administration.h"
#include "libspecrep/disk/disk_link.h"
#include "libspecrep/disk/link_copies.h"
#include "libspecrep/error.h"

namespace specrep::disk {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::uint64_t kMib = 1 << 20;
constexpr std::uint64_t kDiskBytes = 6 * kMib + 4096;

// One host: a disk, and where it notes what it knows of it. Both hosts of a test are in one
// process, so each is entered before it looks at its folder.
struct Host {
  Host() {
    disk = folder / "disk";
    std::ofstream(disk) << "";
    fs::resize_file(disk, kDiskBytes);
  }
  std::string content() const {
    std::ifstream file(disk, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  Folder folder;
  fs::path disk;
};

// The primary's copy as its server keeps it; its record is made by hand, since the path that both
// hosts use for the disk is the backup's here.
struct Primary {
  Primary(const Host& host, const Record& record)
      : record(record),
        backing(open_backing(host.disk)),
        bitmap((host.folder / "bitmap").string(), kDiskBytes),
        source(*backing, bitmap) {}

  void write(std::uint64_t offset, std::size_t bytes, char value) {
    source.write(offset, std::vector<std::byte>(bytes, static_cast<std::byte>(value)), false);
  }
  // Connects, and returns when the other side has been sent all that it missed.
  void attach(LinkCopies& copies, const wire::PreSharedKey& key, const std::string& path) {
    link = wire::TlsLink::connect({"127.0.0.1"}, copies.ports().at(0), key, 50ms, 5s);
    end = std::make_unique<SourceEnd>(
        source, *link, path, record, [](const Record&) {}, 5s, 0);
    runs = std::async(std::launch::async, [this] { return end->run(); });
    while (!(end->attached() && source.in_sync()) &&
           runs.wait_for(1ms) == std::future_status::timeout) {
    }
  }
  std::string detach() {
    end->stop();
    const std::string why = runs.get();
    end.reset();
    link.reset();
    return why;
  }

  Record record;
  std::unique_ptr<Backing> backing;
  IntentBitmap bitmap;
  Source source;
  std::unique_ptr<wire::TlsLink> link;
  std::unique_ptr<SourceEnd> end;
  std::future<std::string> runs;
};

struct Pair {
  Pair() {
    setenv("SPECREP_DISK_STATE", (there.folder / "state").c_str(), 1);
    record.generation = make_generation();
    record.size_bytes = kDiskBytes;
  }
  ~Pair() { unsetenv("SPECREP_DISK_STATE"); }

  std::unique_ptr<LinkCopies> wait(bool durable = false) {
    key = wire::make_pre_shared_key();
    return std::make_unique<LinkCopies>(std::vector<LinkCopies::Disk>{{there.disk, key}}, 16 * kMib,
                                        durable, 50ms, 10s, [] {});
  }
  std::optional<Record> kept() const { return load_record(Places(there.disk)); }

  Host here, there;
  Record record;
  wire::PreSharedKey key{};
};

void commit_all(LinkCopies& copies, Primary& primary) {
  const std::vector<std::uint64_t> marks = {primary.source.mark()};
  for (int i = 0; i < 5000 && !copies.hold(marks); ++i) std::this_thread::sleep_for(1ms);
  BOOST_REQUIRE(copies.hold(marks));
  copies.commit(marks);
}

// To a primary that sends writes without end, and takes nothing of what it is told.
class DeafLink final : public wire::Link {
 public:
  explicit DeafLink(wire::Message hello) : next_(std::move(hello)) {}

  void send(wire::Message message) override {
    queued_ += wire::encode_head(message).size() + message.payload.size();
  }
  std::size_t queued_bytes() const override { return queued_; }
  TimePoint last_heard() const override { return std::chrono::steady_clock::now(); }
  Event wait(TimePoint deadline) override {
    if (number_ == kWrites) return {.message = {}, .closed = "no more"};
    // Each is answered by itself.
    if (deadline == TimePoint()) return {};
    Event event{.message = std::move(next_), .closed = {}};
    next_ = {};
    next_.envelope.mutable_disk_write()->set_number(++number_);
    return event;
  }
  void wake() override {}

 private:
  static constexpr std::uint64_t kWrites = 200'000;

  wire::Message next_;
  std::uint64_t number_ = 0;
  std::size_t queued_ = 0;
};

BOOST_AUTO_TEST_SUITE(disk_link)

BOOST_AUTO_TEST_CASE(a_new_copy_gets_all_and_then_what_is_committed) {
  Pair pair;
  {
    Primary primary(pair.here, pair.record);
    primary.write(3 * kMib - 100, 1000, 'a');  // before anything followed
    auto copies = pair.wait();
    primary.attach(*copies, pair.key, pair.there.disk);
    BOOST_TEST((pair.kept()->role == Record::Role::kSyncing));
    commit_all(*copies, primary);
    primary.write(0, 3 * kMib, 'b');  // in several messages
    primary.source.zero({kMib, 4096}, false);
    commit_all(*copies, primary);
    primary.write(0, 5000, 'c');
    primary.source.flush();
    // The primary is gone before that is committed.
    primary.detach();
    BOOST_TEST(copies->activate() >= 1u);
    BOOST_TEST((pair.kept()->role == Record::Role::kOwn));
    // All was copied: these two are a pair of their own now.
    BOOST_TEST((primary.record.generation != pair.record.generation));
    BOOST_TEST(primary.record.followed);
    BOOST_TEST((pair.kept()->base == primary.record.generation));
    BOOST_TEST((pair.kept()->generation != primary.record.generation));
    const std::string content = pair.there.content();
    BOOST_TEST(content[0] == 'b');
    BOOST_TEST(content[kMib - 1] == 'b');
    BOOST_TEST(content[kMib] == 0);
    BOOST_TEST(content[3 * kMib - 1] == 'b');
    BOOST_TEST(content[3 * kMib] == 'a');
  }
}

// What so much of a disk takes, in as many writes as it is sent in, and one of zeroes.
std::uint64_t in_memory(std::uint64_t bytes) {
  return bytes + (bytes / kWriteBytesMax + 1) * sizeof(Write);
}

BOOST_AUTO_TEST_CASE(copies_are_alike_after_an_orderly_end_and_only_changes_are_sent_again) {
  Pair pair;
  Primary primary(pair.here, pair.record);
  std::mt19937 random(7);
  for (int round = 0; round < 3; ++round) {
    auto copies = pair.wait();
    primary.attach(*copies, pair.key, pair.there.disk);
    BOOST_TEST(primary.source.sent_bytes() <= in_memory(round == 0 ? kDiskBytes : 2 * kMib));
    commit_all(*copies, primary);
    for (int i = 0; i < 20; ++i)
      primary.write(random() % (kDiskBytes - 5000), 1 + random() % 5000,
                    static_cast<char>('a' + i));
    primary.source.flush();
    copies->settle();
    BOOST_TEST((pair.kept()->role == Record::Role::kCopy));
    primary.source.forget_durable();
    primary.detach();
    copies.reset();
    BOOST_TEST((pair.here.content() == pair.there.content()));
    primary.source.forget_durable();
    for (std::uint64_t chunk = 0; chunk < primary.bitmap.chunks(); ++chunk)
      primary.bitmap.clear(chunk);  // as the server does once all is durable
    primary.write(10, 10, 'z');     // alone
  }
}

BOOST_AUTO_TEST_CASE(after_failover_and_return_uncommitted_writes_are_gone) {
  Pair pair;
  // The old primary is `there`: it had the generation that the survivor comes from, and writes of
  // an epoch that was never committed.
  Record old = pair.record;
  save_record(Places(pair.there.disk), old);
  {
    const auto backing = open_backing(pair.there.disk);
    IntentBitmap bitmap(Places(pair.there.disk).bitmap, kDiskBytes);
    Source source(*backing, bitmap);
    source.write(4 * kMib, std::vector<std::byte>(512, std::byte{'u'}), false);
  }
  pair.record.base = old.generation;
  pair.record.generation = make_generation();
  Primary survivor(pair.here, pair.record);
  survivor.write(0, 10, 's');
  auto copies = pair.wait();
  survivor.attach(*copies, pair.key, pair.there.disk);
  BOOST_TEST(survivor.source.sent_bytes() <= in_memory(kMib));  // chunk 4 is zero here
  commit_all(*copies, survivor);
  copies->settle();
  BOOST_TEST((pair.here.content() == pair.there.content()));
  BOOST_TEST((pair.kept()->generation == pair.record.generation));
  BOOST_TEST(IntentBitmap(Places(pair.there.disk).bitmap, kDiskBytes).marked() == 0u);
  survivor.detach();
}

BOOST_AUTO_TEST_CASE(a_copy_that_was_not_complete_is_not_activated_and_is_completed_later) {
  Pair pair;
  Primary primary(pair.here, pair.record);
  primary.write(0, 5 * kMib, 'x');
  {
    auto copies = pair.wait();
    primary.attach(*copies, pair.key, pair.there.disk);
    primary.detach();
    BOOST_CHECK_THROW(copies->activate(), Error);
  }
  BOOST_TEST((pair.kept()->role == Record::Role::kSyncing));
  auto copies = pair.wait();
  primary.attach(*copies, pair.key, pair.there.disk);
  commit_all(*copies, primary);
  copies->settle();
  BOOST_TEST((pair.here.content() == pair.there.content()));
  primary.detach();
}

BOOST_AUTO_TEST_CASE(a_primary_that_takes_no_answers_gets_no_more_of_them) {
  Pair pair;
  wire::Message message;
  wire::DiskHello& hello = *message.envelope.mutable_disk_hello();
  hello.set_path(pair.there.disk);
  hello.set_size_bytes(kDiskBytes);
  hello.set_generation(std::string(pair.record.generation.size(), 'g'));
  hello.set_sector_bytes(512);
  DeafLink link(std::move(message));
  TargetEnd end(pair.there.disk, link, 16 * kMib, false, [] {});
  end.run();
  BOOST_TEST(end.failure().value_or("") ==
             "the primary does not take the answers to what it sends");
  BOOST_TEST(link.queued_bytes() < wire::kAnswersBytesMax + 1000);
}

// What is left of the backup's host when its power goes at this moment, put back in its place.
class Crash {
 public:
  explicit Crash(const Host& host) : host_(host) {
    fs::copy(host.folder.path, saved_.folder.path, fs::copy_options::recursive | overwrite);
  }
  void restore() {
    fs::remove_all(host_.folder.path);
    fs::copy(saved_.folder.path, host_.folder.path, fs::copy_options::recursive | overwrite);
  }

 private:
  static constexpr auto overwrite = fs::copy_options::overwrite_existing;
  const Host& host_;
  Host saved_;
};

BOOST_AUTO_TEST_CASE(a_durable_copy_survives_its_own_host) {
  Pair pair;
  std::optional<Crash> crash;
  {
    Primary primary(pair.here, pair.record);
    auto copies = pair.wait(true);
    primary.attach(*copies, pair.key, pair.there.disk);
    const std::vector<std::uint64_t> marks = {primary.source.begin_epochs()};
    while (!copies->hold(marks)) std::this_thread::sleep_for(1ms);
    copies->commit(marks);
    for (int i = 0; i < 1000 && pair.kept()->role != Record::Role::kCopy; ++i)
      std::this_thread::sleep_for(1ms);
    BOOST_TEST(pair.kept()->open);
    primary.write(100, 2 * kMib, 'a');
    primary.source.zero({kMib, 4096}, false);
    primary.write(kMib + 10, 10, 'b');
    primary.source.flush();
    BOOST_TEST(pair.there.content()[100] == 0);  // of an epoch that is not committed
    crash.emplace(pair.there);
    primary.detach();
  }
  crash->restore();
  promote(pair.there.disk);
  BOOST_TEST((pair.there.content() == pair.here.content()));
  BOOST_TEST((pair.kept()->role == Record::Role::kOwn));
  BOOST_TEST(!pair.kept()->open);
  BOOST_TEST(!Journal::exists(Places(pair.there.disk)));
}

BOOST_AUTO_TEST_CASE(a_copy_that_was_open_when_its_host_went_down_is_not_promoted) {
  Pair pair;
  std::optional<Crash> crash;
  Primary primary(pair.here, pair.record);
  {
    auto copies = pair.wait();
    primary.attach(*copies, pair.key, pair.there.disk);
    commit_all(*copies, primary);
    for (int i = 0; i < 1000 && pair.kept()->role != Record::Role::kCopy; ++i)
      std::this_thread::sleep_for(1ms);
    crash.emplace(pair.there);
    primary.write(100, 10, 'a');
    copies->settle();
    primary.detach();
  }
  BOOST_TEST(!pair.kept()->open);  // closed in order: it may be
  crash->restore();
  BOOST_CHECK_THROW(promote(pair.there.disk), Error);
  // It gets all when it is followed again.
  auto copies = pair.wait();
  primary.attach(*copies, pair.key, pair.there.disk);
  commit_all(*copies, primary);
  copies->settle();
  primary.detach();
  BOOST_CHECK_THROW(promote(pair.there.disk), Error);  // specrep-backup still has it
  copies.reset();
  promote(pair.there.disk);
  BOOST_TEST((pair.there.content() == pair.here.content()));
}

BOOST_AUTO_TEST_CASE(a_journal_ends_where_a_write_is_not_whole) {
  Host host;
  setenv("SPECREP_DISK_STATE", host.folder.path.c_str(), 1);
  const Places places(host.disk);
  const auto write = [](std::uint64_t number, char value) {
    return Write{number, {number * 100, 100}, std::vector<std::byte>(100, std::byte(value))};
  };
  {
    Journal journal(places);
    for (std::uint64_t number = 5; number < 10; ++number)
      journal.append(write(number, static_cast<char>('a' + number)));
    journal.sync();
  }
  const std::string file = places.journal + ".0";
  const auto whole = fs::file_size(file);
  // Cut at each length, and damaged at each byte: never anything but the writes before.
  std::string content(whole, 0);
  std::ifstream(file, std::ios::binary).read(content.data(), static_cast<std::streamsize>(whole));
  const auto one = whole / 5;
  for (std::size_t at = 0; at < whole; at += 7) {
    for (const bool cut : {true, false}) {
      std::string bad = content.substr(0, cut ? at : whole);
      if (!cut) bad[at] = static_cast<char>(bad[at] ^ 4);
      std::ofstream(file, std::ios::binary) << bad;
      BOOST_TEST(Journal::replay(places, *open_backing(host.disk)) == at / one);
    }
  }
  std::ofstream(file, std::ios::binary) << content;
  BOOST_TEST(Journal::replay(places, *open_backing(host.disk)) == 5u);
  BOOST_TEST(host.content()[900] == 'a' + 9);
  BOOST_TEST(!Journal::exists(places));
  unsetenv("SPECREP_DISK_STATE");
}

BOOST_AUTO_TEST_CASE(a_journal_takes_no_more_room_than_what_is_not_on_the_disk) {
  Host host;
  setenv("SPECREP_DISK_STATE", host.folder.path.c_str(), 1);
  const Places places(host.disk);
  Journal journal(places);
  std::uint64_t number = 0;
  for (int round = 0; round < 300; ++round) {
    ++number;
    journal.append({number, {0, kMib}, std::vector<std::byte>(kMib, std::byte{1})});
    if (number > 10) journal.forget(number - 10);
  }
  const auto bytes = fs::file_size(places.journal + ".0") + fs::file_size(places.journal + ".1");
  BOOST_TEST(bytes <= 140 * kMib);
  // Both files have writes that are not forgotten, or have been.
  Host other;
  BOOST_TEST(Journal::replay(places, *open_backing(other.disk)) >= 10u);
  unsetenv("SPECREP_DISK_STATE");
}

// Generations as letters; 0: not known, or no base.
Record record_of(char generation, char base, Record::Role role) {
  Record record;
  record.role = role;
  record.generation.fill(generation == '0' ? 0 : static_cast<std::uint8_t>(generation));
  if (base != '0') record.base.emplace().fill(static_cast<std::uint8_t>(base));
  return record;
}

BOOST_AUTO_TEST_CASE(what_two_records_mean) {
  constexpr auto kOwn = Record::Role::kOwn, kSyncing = Record::Role::kSyncing,
                 kCopy = Record::Role::kCopy;
  const auto all = "all", marked = "marked", newer = "is newer", both = "written to by itself";
  struct Case {
    const char* what;
    char primary, primary_base;
    char here, here_base;
    Record::Role role;
    std::string answer;
  };
  // The primary is where the guest runs now. A: what both hosts had once.
  const Case cases[] = {
      {"a copy that had hardly begun, or was discarded", 'A', '0', '0', '0', kSyncing, all},
      {"again, in order", 'A', '0', 'A', '0', kCopy, marked},
      {"again, after a break in the resync", 'A', '0', 'A', '0', kSyncing, marked},
      {"the guest ran here, was moved in order, and is protected from there", 'A', '0', 'A', '0',
       kOwn, marked},
      // Protection was settled in the primary's favour. What it writes alone is marked there.
      {"its guest has not been restarted since", 'A', '0', 'A', '0', kCopy, marked},
      {"its guest has been: its server drew B", 'B', 'A', 'A', '0', kCopy, marked},
      {"and the resync broke", 'B', 'A', 'A', '0', kSyncing, marked},
      {"then the stale copy was promoted by hand", 'A', '0', 'C', '0', kOwn, both},
      {"the same, after a restart", 'B', 'A', 'C', '0', kOwn, both},
      {"the same, seen from the other side", 'C', '0', 'A', '0', kOwn, both},
      {"the same, after a restart", 'C', '0', 'B', 'A', kOwn, both},
      // The primary's host died, and the backup took the guest over as B.
      {"it is protected from there", 'B', 'A', 'A', '0', kOwn, marked},
      {"the same, and was restarted there alone: it was never followed", 'B', 'A', 'A', '0', kOwn,
       marked},
      {"the dead one's guest was started there again: it drew C", 'B', 'A', 'C', 'A', kOwn, both},
      {"the same, seen from there", 'C', 'A', 'B', 'A', kOwn, both},
      {"the dead one's server never stopped", 'A', '0', 'B', 'A', kOwn, newer},
      {"its copy, from a dead one", 'A', '0', 'B', 'A', kCopy, newer},
      // Three hosts. A whole copy draws anew, without a base.
      {"the pair is another now", 'K', '0', 'A', '0', kCopy, all},
      {"the pair is another now, and this one was taken over from", 'K', '0', 'A', '0', kOwn, both},
      {"a restart later", 'L', 'K', 'A', '0', kCopy, all},
      {"two restarts later, with a backup in between", 'M', 'L', 'K', '0', kCopy, all},
      {"a copy of another guest's", 'A', '0', 'X', 'Y', kCopy, all},
      {"another guest's own", 'A', '0', 'X', 'Y', kOwn, both},
  };
  BOOST_TEST((compare("/d", record_of('A', '0', kOwn), {}) == Need::kAll));
  for (const Case& c : cases) {
    const Record primary = record_of(c.primary, c.primary_base, kOwn);
    std::string answer;
    try {
      answer = compare("/d", primary, record_of(c.here, c.here_base, c.role)) == Need::kAll
                   ? all
                   : marked;
    } catch (const Error& error) {
      answer = error.what();
      BOOST_TEST(error.advice().find("specrep-disk discard --force /d") != std::string::npos);
    }
    BOOST_TEST(answer.find(c.answer) != std::string::npos, c.what << ": " << answer);
  }
}

BOOST_AUTO_TEST_CASE(a_copy_that_goes_on_by_itself_leaves_the_other_its_base) {
  Record record = record_of('A', '0', Record::Role::kOwn);
  record.followed = true;
  part(record);
  BOOST_TEST((record.base == record_of('A', '0', record.role).generation));
  BOOST_TEST((record.generation != *record.base));
  BOOST_TEST(!record.followed);
}

// The second backup's copy is no older version of the first one's: the marks are against one
// alone.
BOOST_AUTO_TEST_CASE(a_backup_that_another_one_came_between_gets_all) {
  Pair pair;
  Primary primary(pair.here, pair.record);
  std::optional<Record> first;
  for (const bool second : {false, true}) {
    fs::remove(Places(pair.there.disk).record);
    auto copies = pair.wait();
    primary.attach(*copies, pair.key, pair.there.disk);
    commit_all(*copies, primary);
    copies->settle();
    if (!second) first = pair.kept();
    primary.detach();
  }
  BOOST_TEST((pair.kept()->generation == primary.record.generation));
  BOOST_TEST((compare("/d", primary.record, first) == Need::kAll));
}

BOOST_AUTO_TEST_CASE(disks_of_different_sizes_are_refused) {
  Pair pair;
  pair.record.size_bytes = kDiskBytes - 4096;
  Primary primary(pair.here, pair.record);
  auto copies = pair.wait();
  primary.attach(*copies, pair.key, pair.there.disk);
  BOOST_TEST(primary.detach().find("bytes") != std::string::npos);
  BOOST_CHECK_THROW(copies->hold({0}), Error);
  BOOST_TEST(!pair.kept().has_value());
}

// What the backup makes of a greeting, which it always refuses here.
std::string answer_to(Pair& pair, std::uint32_t sector_bytes,
                      const std::string& storage_mark = "") {
  auto copies = pair.wait();
  auto link = wire::TlsLink::connect({"127.0.0.1"}, copies->ports().at(0), pair.key, 50ms, 5s);
  wire::Message message;
  wire::DiskHello& hello = *message.envelope.mutable_disk_hello();
  hello.set_path(pair.there.disk);
  hello.set_size_bytes(kDiskBytes);
  hello.set_generation(pair.record.generation.data(), pair.record.generation.size());
  hello.set_sector_bytes(sector_bytes);
  hello.set_storage_mark(storage_mark);
  link->send(std::move(message));
  for (;;) {
    const auto event = link->wait(std::chrono::steady_clock::now() + 5s);
    if (event.closed) return "closed";
    if (event.message && event.message->envelope.has_failure())
      return event.message->envelope.failure().what();
    BOOST_REQUIRE(!event.message || !event.message->envelope.has_disk_ready());
  }
}

BOOST_AUTO_TEST_CASE(disks_of_different_sectors_are_refused) {
  Pair pair;
  for (const std::uint32_t bytes : {4096u, 256u})
    BOOST_TEST(answer_to(pair, bytes).find("has sectors of") != std::string::npos);
  for (const std::uint32_t bytes : {0u, 1000u})
    BOOST_TEST(answer_to(pair, bytes).find("the primary's disk has") != std::string::npos);
  BOOST_TEST(!pair.kept().has_value());
}

BOOST_AUTO_TEST_CASE(a_disk_that_both_share_is_refused) {
  Pair pair;
  const StorageMark mark(pair.there.disk);
  BOOST_TEST(answer_to(pair, 512, mark.text()).find("one and the same") != std::string::npos);
  BOOST_TEST(!pair.kept().has_value());
}

BOOST_AUTO_TEST_CASE(a_disk_that_is_in_use_is_refused) {
  Pair pair;
  const auto used = open_backing(pair.there.disk);
  Primary primary(pair.here, pair.record);
  auto copies = pair.wait();
  primary.attach(*copies, pair.key, pair.there.disk);
  BOOST_TEST(primary.detach().find("in use") != std::string::npos);
  for (int i = 0; i < 1000; ++i) {
    try {
      copies->hold({0});
    } catch (const Error& error) {
      BOOST_TEST(std::string(error.what()).find("in use") != std::string::npos);
      return;
    }
    std::this_thread::sleep_for(1ms);
  }
  BOOST_ERROR("nobody noticed");
}

BOOST_AUTO_TEST_CASE(what_a_backup_may_not_mark_is_refused) {
  Pair pair;
  Primary primary(pair.here, pair.record);
  const auto key = wire::make_pre_shared_key();
  for (const std::size_t bytes : {1u, 2u}) {
    wire::TlsListener listener(key);
    auto backup = std::async(std::launch::async, [&] {
      auto link = listener.accept(50ms, 5s);
      wire::Message ready;
      ready.envelope.mutable_disk_ready();
      ready.payload.assign(bytes, std::byte{0xff});
      link->send(std::move(ready));
      while (!link->wait(std::chrono::steady_clock::now() + 5s).closed) {
      }
    });
    auto link = wire::TlsLink::connect({"127.0.0.1"}, listener.port(), key, 50ms, 5s);
    SourceEnd end(
        primary.source, *link, pair.there.disk, pair.record, [](const Record&) {}, 5s, 0);
    BOOST_TEST(end.run().find("marks more") != std::string::npos);
    link.reset();
    backup.get();
  }
}

BOOST_AUTO_TEST_CASE(nobody_who_never_connects_holds_the_end_up) {
  Pair pair;
  const auto begun = std::chrono::steady_clock::now();
  {
    auto copies = pair.wait();
    BOOST_TEST(!copies->hold({0}));
    BOOST_CHECK_THROW(copies->commit({0}), Error);
    copies->settle();
  }
  BOOST_TEST((std::chrono::steady_clock::now() - begun < 5s));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::disk
