// The server of a disk: its control socket, and the plugin in a real nbdkit.
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "folder.h"
#include "libspecrep/disk/control_client.h"
#include "libspecrep/disk/control_server.h"
#include "libspecrep/disk/link_copies.h"
#include "libspecrep/disk/served_disks.h"
#include "libspecrep/error.h"

namespace specrep::disk {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::uint64_t kMib = 1 << 20;
constexpr std::uint64_t kDiskBytes = 4 * kMib;

struct TwoDisks : Folder {
  TwoDisks() {
    setenv("SPECREP_DISK_STATE", (path / "state").c_str(), 1);
    setenv("SPECREP_DISK_RUN", (path / "run").c_str(), 1);
    for (const char* name : {"here", "there"}) {
      std::ofstream(path / name) << "";
      fs::resize_file(path / name, kDiskBytes);
    }
    fs::create_directories(path / "state");
    fs::create_directories(path / "run");
  }
  ~TwoDisks() {
    unsetenv("SPECREP_DISK_STATE");
    unsetenv("SPECREP_DISK_RUN");
  }
};

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A server of the disk "there", whose copy the test keeps under the same name in another folder,
// as another host would.
struct Served {
  Served()
      : backing(open_backing(folder / "here")),
        bitmap(folder / "bitmap", kDiskBytes),
        source(*backing, bitmap) {
    record.generation = make_generation();
    record.size_bytes = kDiskBytes;
    server.emplace(source, folder / "there", record, [](const Record&) {});
  }
  std::unique_ptr<LinkCopies> wait() {
    key = wire::make_pre_shared_key();
    return std::make_unique<LinkCopies>(std::vector<LinkCopies::Disk>{{folder / "there", key}},
                                        16 * kMib, false, 50ms, 10s, [] {});
  }
  ServedDisks::Peer peer(const LinkCopies& copies) const {
    ServedDisks::Peer peer;
    peer.path = folder / "there";
    peer.attach.add_addresses("127.0.0.1");
    peer.attach.set_port(copies.ports().at(0));
    peer.attach.set_pre_shared_key(key.data(), key.size());
    peer.attach.set_heartbeat_interval_ms(50);
    peer.attach.set_heartbeat_timeout_ms(2000);
    return peer;
  }
  void write(std::uint64_t offset, std::size_t bytes, char value) {
    source.write(offset, std::vector<std::byte>(bytes, static_cast<std::byte>(value)), false);
  }

  TwoDisks folder;
  std::unique_ptr<Backing> backing;
  IntentBitmap bitmap;
  Source source;
  Record record;
  wire::PreSharedKey key{};
  std::optional<ControlServer> server;
};

void wait_for_sync(ServedDisks& disks) {
  for (int i = 0; i < 5000 && disks.missing_bytes() > 0; ++i) std::this_thread::sleep_for(1ms);
  BOOST_REQUIRE(disks.missing_bytes() == 0u);
}

BOOST_AUTO_TEST_SUITE(disk_server)

BOOST_AUTO_TEST_CASE(a_disk_is_followed_epoch_by_epoch_and_again) {
  Served served;
  served.write(0, 100, 'a');
  for (int round = 0; round < 2; ++round) {
    auto copies = served.wait();
    {
      ServedDisks disks({served.peer(*copies)}, kMib);
      wait_for_sync(disks);
      BOOST_TEST(disks.fill() <= 4.0);
      auto marks = disks.end_epoch(1);
      for (int i = 0; i < 5000 && !copies->hold(marks); ++i) std::this_thread::sleep_for(1ms);
      copies->commit(marks);
      disks.release(1);
      BOOST_TEST(disks.fill() == 0.0);
      served.write(kMib, kMib / 2, static_cast<char>('b' + round));
      // Sent as two writes.
      BOOST_TEST(disks.fill() == static_cast<double>(kMib / 2 + 2 * sizeof(Write)) / kMib);
      marks = disks.end_epoch(2);
      disks.finish();
      BOOST_TEST(copies->hold(marks));
    }
    copies->settle();
    copies.reset();
    BOOST_TEST((content(served.folder / "here") == content(served.folder / "there")));
  }
}

BOOST_AUTO_TEST_CASE(a_backup_that_goes_away_is_an_error_that_says_so_and_flushes_go_on) {
  Served served;
  auto copies = served.wait();
  ServedDisks disks({served.peer(*copies)}, kMib);
  wait_for_sync(disks);
  copies.reset();
  served.source.flush();
  bool noticed = false;
  for (int i = 0; i < 3000 && !noticed; ++i) {
    try {
      disks.end_epoch(1);
      std::this_thread::sleep_for(1ms);
    } catch (const Error& error) {
      noticed = std::string(error.what()).find("does not follow") != std::string::npos;
    }
  }
  BOOST_TEST(noticed);
  served.source.flush();
  disks.finish();
}

BOOST_AUTO_TEST_CASE(a_backup_that_cannot_be_reached_is_an_error) {
  Served served;
  ServedDisks::Peer peer;
  peer.path = served.folder / "there";
  peer.attach.add_addresses("127.0.0.1");
  peer.attach.set_port(1);
  peer.attach.set_pre_shared_key(std::string(32, 'k'));
  peer.attach.set_heartbeat_interval_ms(50);
  peer.attach.set_heartbeat_timeout_ms(2000);
  BOOST_CHECK_THROW(ServedDisks({peer}, kMib), Error);
  peer.attach.set_pre_shared_key("short");
  BOOST_CHECK_THROW(ServedDisks({peer}, kMib), Error);
  served.server.reset();
  BOOST_CHECK_THROW(ControlClient(Places(served.folder / "there")), Error);
}

BOOST_AUTO_TEST_CASE(what_is_asked_out_of_place_is_an_error) {
  Served served;
  ControlClient client(Places(served.folder / "there"));
  BOOST_CHECK_THROW(client.ask(true), Error);
}

BOOST_AUTO_TEST_CASE(others_may_ask_while_a_backup_follows_and_not_attach) {
  Served served;
  served.write(0, 100, 'a');
  ControlClient asker(Places(served.folder / "there"));
  BOOST_TEST(!asker.ask().followed());
  BOOST_TEST(asker.ask().marked_chunks() == 1u);
  auto copies = served.wait();
  const ServedDisks::Peer peer = served.peer(*copies);
  {
    ServedDisks disks({peer}, kMib);
    wait_for_sync(disks);
    BOOST_TEST(asker.ask().followed());
    BOOST_TEST(asker.ask().in_sync());
    BOOST_TEST(asker.ask().chunks_to_send() == 0u);
    BOOST_TEST(asker.attach(peer.attach).lost().find("already") != std::string::npos);
    BOOST_CHECK_THROW(asker.ask(true), Error);
    BOOST_TEST(disks.missing_bytes() == 0u);
  }
  // The next one waits until the server has let go.
  wire::DiskAttach short_key;
  short_key.set_pre_shared_key("short");
  BOOST_TEST(asker.attach(short_key).lost().find("wrong length") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(more_connections_than_anybody_needs_are_refused) {
  Served served;
  const Places places(served.folder / "there");
  std::vector<std::unique_ptr<ControlClient>> others;
  const auto connect = [&] {
    others.push_back(std::make_unique<ControlClient>(places));
    others.back()->ask();
  };
  BOOST_CHECK_THROW(for (int i = 0; i < 20; ++i) connect(), Error);
  BOOST_TEST(others.size() >= 4u);
  others.clear();
  std::this_thread::sleep_for(500ms);
  BOOST_CHECK_NO_THROW(ControlClient{places}.ask());
}

#ifndef SPECREP_SANITIZED  // nbdkit, which is not, cannot load a plugin that is

// nbdkit with the plugin, as specrep-diskd starts it.
struct Nbdkit {
  explicit Nbdkit(const std::string& path) {
    socket = Places(path).nbd_socket;
    unlink(socket.c_str());
    const std::string parameter = "path=" + path;
    pid = fork();
    if (pid == 0) {
      execlp("nbdkit", "nbdkit", "-f", "-t", "8", "-U", socket.c_str(), SPECREP_DISK_PLUGIN,
             parameter.c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; i < 5000 && access(socket.c_str(), F_OK) != 0; ++i) {
      if (waitpid(pid, &status, WNOHANG) == pid) {
        pid = 0;
        return;
      }
      std::this_thread::sleep_for(1ms);
    }
  }
  ~Nbdkit() { stop(SIGTERM); }
  void stop(int signal) {
    if (pid <= 0) return;
    kill(pid, signal);
    waitpid(pid, &status, 0);
    pid = 0;
  }
  // Runs qemu-io's commands, see its manual; returns its exit status.
  int io(const std::string& commands) const {
    return std::system(
        ("qemu-io -f raw " + commands + " nbd+unix:///?socket=" + socket + " >/dev/null 2>&1")
            .c_str());
  }

  std::string socket;
  pid_t pid = 0;
  int status = 0;
};

BOOST_AUTO_TEST_CASE(nbdkit_serves_a_disk_and_a_killed_one_leaves_its_marks) {
  TwoDisks folder;
  const std::string disk = folder / "here";
  {
    Nbdkit nbdkit(disk);
    BOOST_REQUIRE(nbdkit.pid > 0);
    BOOST_TEST(nbdkit.io("-c 'write -P 7 1M 64k' -c flush -c 'write -f -P 9 3M 8k'"
                         " -c 'discard 1M 4k' -c 'write -z 3M 4k'") == 0);
    BOOST_TEST(nbdkit.io("-c 'read -P 0 1M 4k' -c 'read -P 7 1052672 4k' -c 'read -P 9 3149824 4k'"
                         " -c 'read -P 0 3M 4k'") == 0);
    nbdkit.stop(SIGKILL);
  }
  BOOST_TEST(IntentBitmap(Places(disk).bitmap, kDiskBytes).marked() == 2u);
  BOOST_TEST((load_record(Places(disk))->role == Record::Role::kOwn));
  const std::string bytes = content(disk);
  BOOST_TEST(bytes[kMib + 5000] == 7);
  BOOST_TEST(bytes[kMib] == 0);
  {
    Nbdkit again(disk);
    BOOST_TEST(again.io("-c 'read -P 7 1052672 4k'") == 0);
    ControlClient client{Places(disk)};
  }
}

BOOST_AUTO_TEST_CASE(a_server_of_a_disk_that_a_backup_followed_goes_on_by_itself) {
  TwoDisks folder;
  const Places places(folder / "here");
  const auto serve_once = [&] {
    Nbdkit nbdkit(folder / "here");
    BOOST_REQUIRE(nbdkit.pid > 0);
    return *load_record(places);
  };
  const Record first = serve_once();
  BOOST_TEST(!first.followed);
  Record followed = first;
  followed.followed = true;
  save_record(places, followed);
  for (int times = 0; times < 2; ++times) {
    const Record alone = serve_once();
    BOOST_TEST((alone.base == first.generation));
    BOOST_TEST((alone.generation != first.generation));
    BOOST_TEST(!alone.followed);
    if (times == 0) followed = alone;
    BOOST_TEST((alone.generation == followed.generation));
  }
}

// Else it would answer what it was asked with errors.
BOOST_AUTO_TEST_CASE(a_server_whose_supervisor_is_killed_is_killed_too) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  TwoDisks folder;
  int pids[2];
  BOOST_REQUIRE(pipe(pids) == 0);
  const pid_t supervisor = fork();
  if (supervisor == 0) {
    Nbdkit nbdkit(folder / "here");
    if (write(pids[1], &nbdkit.pid, sizeof nbdkit.pid) == sizeof nbdkit.pid) pause();
    _exit(1);
  }
  pid_t server = 0;
  BOOST_REQUIRE(read(pids[0], &server, sizeof server) == sizeof server);
  BOOST_REQUIRE(server > 0);
  kill(supervisor, SIGKILL);
  waitpid(supervisor, nullptr, 0);
  int status = 0;
  BOOST_REQUIRE(waitpid(server, &status, 0) == server);
  BOOST_TEST(WIFSIGNALED(status));
  BOOST_TEST(WTERMSIG(status) == SIGKILL);
  for (const int fd : pids) close(fd);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

BOOST_AUTO_TEST_CASE(a_guest_sees_the_sectors_of_its_disk) {
  TwoDisks folder;
  const std::string disk = folder / "here", said = folder / "said";
  BOOST_TEST(sector_bytes(disk) == 512u);
  BOOST_CHECK_THROW(sector_bytes(folder / "none"), Error);
  Nbdkit nbdkit(disk);
  BOOST_REQUIRE(std::system(("qemu-nbd --list -k " + nbdkit.socket + " >" + said).c_str()) == 0);
  const std::string list = content(said);
  BOOST_TEST(list.find("( flush fua trim zeroes df multi )") != std::string::npos, list);
  BOOST_TEST(list.find("min block: 512\n") != std::string::npos, list);
  BOOST_TEST(list.find("opt block: 4096\n") != std::string::npos, list);
}

BOOST_AUTO_TEST_CASE(a_copy_is_not_served) {
  TwoDisks folder;
  const std::string disk = folder / "here";
  for (const auto role : {Record::Role::kCopy, Record::Role::kSyncing}) {
    Record record;
    record.role = role;
    record.generation = make_generation();
    record.size_bytes = kDiskBytes;
    save_record(Places(disk), record);
    Nbdkit nbdkit(disk);
    BOOST_TEST(nbdkit.pid == 0);
    BOOST_TEST(nbdkit.status != 0);
  }
}

#endif

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::disk
