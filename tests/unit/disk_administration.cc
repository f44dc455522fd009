// What an administrator sees and changes by hand, on files.
#include <stdlib.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <future>

#include "folder.h"
#include "libspecrep/disk/administration.h"
#include "libspecrep/disk/backing.h"
#include "libspecrep/disk/control_server.h"
#include "libspecrep/disk/disk_link.h"
#include "libspecrep/disk/intent_bitmap.h"
#include "libspecrep/error.h"

namespace specrep::disk {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMib = 1 << 20;

struct Host {
  Host() {
    setenv("SPECREP_DISK_STATE", (folder / "state").c_str(), 1);
    setenv("SPECREP_DISK_RUN", (folder / "run").c_str(), 1);
    disk = folder / "disk";
    resize(3 * kMib + 512);
  }
  ~Host() {
    unsetenv("SPECREP_DISK_STATE");
    unsetenv("SPECREP_DISK_RUN");
  }
  void resize(std::uint64_t bytes) const {
    std::ofstream(disk) << "";
    fs::resize_file(disk, bytes);
  }
  void record(Record::Role role) const {
    Record record;
    record.role = role;
    record.generation = make_generation();
    record.base = make_generation();
    record.size_bytes = fs::file_size(disk);
    save_record(Places(disk), record);
  }
  Record kept() const { return load_record(Places(disk)).value(); }

  Folder folder;
  std::string disk;
};

// That it is refused, with words.
template <typename Work>
void check_refused(Work work, const std::string& words) {
  try {
    work();
    BOOST_ERROR("not refused: " << words);
  } catch (const Error& error) {
    BOOST_TEST(with_advice(error).find(words) != std::string::npos, with_advice(error));
  }
}

BOOST_AUTO_TEST_SUITE(disk_administration)

BOOST_AUTO_TEST_CASE(a_disk_is_made_known_once_and_all_of_it_is_to_be_sent) {
  const Host host;
  BOOST_TEST(known_disks().empty());
  create(host.disk, false);
  BOOST_TEST((known_disks() == std::vector{host.disk}));
  const Record first = host.kept();
  BOOST_TEST((first.role == Record::Role::kOwn));
  BOOST_TEST(!first.base.has_value());
  const Status status = look_at(host.disk);
  BOOST_TEST(*status.marked_chunks == 4u);
  BOOST_TEST(*status.size_bytes == 3 * kMib + 512);
  BOOST_TEST(!status.device.has_value());
  BOOST_TEST(!status.server.has_value());
  BOOST_TEST(status.troubles.empty());

  check_refused([&] { create(host.disk, false); }, "already");
  BOOST_TEST((host.kept().generation == first.generation));
  host.resize(5 * kMib);
  create(host.disk, true);
  BOOST_TEST((host.kept().generation != first.generation));
  BOOST_TEST(*look_at(host.disk).marked_chunks == 5u);
}

BOOST_AUTO_TEST_CASE(what_is_no_disk_is_refused) {
  const Host host;
  check_refused([&] { create(host.folder / "none", false); }, "No such file");
  check_refused([&] { create("relative", false); }, "absolute");
  for (const std::uint64_t bytes : {0, 511}) {
    host.resize(bytes);
    check_refused([&] { create(host.disk, false); }, "multiple of 512");
  }
  BOOST_TEST(known_disks().empty());
}

BOOST_AUTO_TEST_CASE(nothing_is_changed_while_somebody_has_the_disk) {
  const Host host;
  host.record(Record::Role::kCopy);
  const Record before = host.kept();
  const auto held = open_backing(host.disk);
  std::vector<std::future<void>> tries;
  for (const auto work : {+[](const std::string& disk) { create(disk, true); },
                          +[](const std::string& disk) { promote(disk); },
                          +[](const std::string& disk) { discard(disk, true); }})
    tries.push_back(std::async(std::launch::async, work, host.disk));
  for (auto& tried : tries) check_refused([&] { tried.get(); }, "in use");
  BOOST_TEST((host.kept().generation == before.generation));
}

BOOST_AUTO_TEST_CASE(a_complete_copy_is_promoted_and_is_no_relative_of_its_primary) {
  const Host host;
  check_refused([&] { promote(host.disk); }, "does not know");
  host.record(Record::Role::kOwn);
  check_refused([&] { promote(host.disk); }, "own already");
  host.record(Record::Role::kSyncing);
  check_refused([&] { promote(host.disk); }, "create --force " + host.disk);
  host.record(Record::Role::kCopy);
  const Record copy = host.kept();
  promote(host.disk);
  const Record own = host.kept();
  BOOST_TEST((own.role == Record::Role::kOwn));
  BOOST_TEST((own.generation != copy.generation));
  BOOST_TEST(!own.base.has_value());
  // Whichever of the two is protected from, it does not overwrite the other.
  Record primary = copy;
  primary.role = Record::Role::kOwn;
  BOOST_CHECK_THROW(compare(host.disk, primary, own), Error);
  BOOST_CHECK_THROW(compare(host.disk, own, primary), Error);
}

BOOST_AUTO_TEST_CASE(what_is_discarded_is_overwritten_and_not_used) {
  const Host host;
  check_refused([&] { discard(host.disk, true); }, "does not know");
  host.record(Record::Role::kOwn);
  const Record own = host.kept();
  check_refused([&] { discard(host.disk, false); }, "--force");
  BOOST_TEST((host.kept().generation == own.generation));
  IntentBitmap(Places(host.disk).bitmap, own.size_bytes).mark({0, 1});
  for (const bool force : {true, false}) {
    discard(host.disk, force);
    BOOST_TEST((host.kept().role == Record::Role::kSyncing));
    BOOST_TEST((compare(host.disk, own, host.kept()) == Need::kAll));
    BOOST_TEST(!look_at(host.disk).marked_chunks.has_value());
    check_refused([&] { promote(host.disk); }, "discarded");
    host.record(Record::Role::kCopy);
  }
  discard(host.disk, false);
  create(host.disk, true);
  BOOST_TEST((host.kept().role == Record::Role::kOwn));
}

BOOST_AUTO_TEST_CASE(a_damaged_record_is_shown_and_mended) {
  const Host host;
  for (const bool keep : {true, false}) {
    create(host.disk, true);
    std::ofstream(Places(host.disk).record) << "{";
    BOOST_TEST(look_at(host.disk).troubles.size() == 1u);
    check_refused([&] { promote(host.disk); }, "specrep-disk create --force " + host.disk);
    if (keep)
      create(host.disk, true);
    else
      discard(host.disk, true);
    BOOST_TEST(look_at(host.disk).troubles.empty());
  }
}

BOOST_AUTO_TEST_CASE(a_disk_that_is_served_is_shown_as_its_server_sees_it) {
  const Host host;
  create(host.disk, false);
  const Record record = host.kept();
  const auto backing = open_backing(host.disk);
  IntentBitmap bitmap(Places(host.disk).bitmap, record.size_bytes);
  bitmap.clear(0);  // of which the file does not know
  Source source(*backing, bitmap);
  fs::create_directories(host.folder / "run");
  const ControlServer server(source, host.disk, record, [](const Record&) {});
  const Status status = look_at(host.disk);
  BOOST_REQUIRE(status.server.has_value());
  BOOST_TEST(!status.server->followed());
  BOOST_TEST(*status.marked_chunks == 3u);
  fs::remove(Places(host.disk).record);
  BOOST_TEST((known_disks() == std::vector{host.disk}));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::disk
