// The arbiter in a folder that both hosts see. Its hosts are processes here.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <thread>
#include <utility>

#include "arbiter_test.h"
#include "folder.h"
#include "libspecrep/arbiter/arbiter.h"
#include "libspecrep/error.h"

namespace {
// Called before each fsync of this process, of the arbiter's as of any other's.
std::function<void()> before_fsync;
}  // namespace

// Stands before libc's. The arbiter calls it when a record is written and not yet in place, and
// then when it is in place: where a host can die, stand still or lose its storage.
extern "C" int fsync(int fd) {
  if (before_fsync) before_fsync();
  return static_cast<int>(syscall(SYS_fsync, fd));
}

namespace specrep {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr auto kPatience = 20s;

struct Storage : Folder {
  ~Storage() { before_fsync = nullptr; }

  std::unique_ptr<Arbiter> arbiter(Duration timeout = kPatience) const {
    return make_arbiter("file:" + path.string(), timeout);
  }
  fs::path file(const std::string& suffix) const { return path / (kGuest + "." + suffix); }
  // As another host with another view of the locks: all of this process's go.
  void lose_lock() const { close(open(file("lock").c_str(), O_RDWR | O_CLOEXEC)); }
  // All files but the locks.
  std::vector<fs::path> records() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.path().extension() != ".lock") found.push_back(entry.path());
    return found;
  }
  // Without those on their way.
  std::vector<fs::path> records_in_place() const {
    auto found = records();
    std::erase_if(found,
                  [](const fs::path& p) { return p.string().find(".new.") != std::string::npos; });
    return found;
  }
};

enum Outcome { kGranted = 10, kRefused, kFailed, kDied };

Outcome outcome_of(const std::function<bool()>& claim) {
  try {
    return claim() ? kGranted : kRefused;
  } catch (const Error&) {
    return kFailed;
  }
}

// A claim's thread may be ending still when the claim is over, and what it has locked, such as
// AddressSanitizer's allocator, would stay locked in a copy of this process.
void wait_for_threads_to_end() {
  for (int tries = 0; tries < 1000; ++tries) {
    const fs::directory_iterator threads("/proc/self/task");
    if (std::distance(begin(threads), end(threads)) == 1) return;
    std::this_thread::sleep_for(1ms);
  }
}

// A host: a process that does this and says how it went.
pid_t start_host(const std::function<bool()>& claim) {
  wait_for_threads_to_end();
  const pid_t pid = fork();
  BOOST_REQUIRE(pid >= 0);
  if (pid == 0) _exit(outcome_of(claim));
  return pid;
}

int outcome(pid_t pid) {
  int status = 0;
  BOOST_REQUIRE_EQUAL(waitpid(pid, &status, 0), pid);
  BOOST_REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

// A host that waits to be let go. Made before a claim is stopped halfway, since the half-way point
// is no place to fork at: the claim's locks inside this process would be copied with it.
class WaitingHost {
 public:
  explicit WaitingHost(const std::function<bool()>& claim) {
    int gate[2];
    BOOST_REQUIRE(pipe(gate) == 0);
    pid_ = start_host([&] {
      close(gate[1]);
      char byte;
      return read(gate[0], &byte, 1) == 0 && claim();
    });
    close(gate[0]);
    gate_ = gate[1];
  }
  int go() {
    close(gate_);
    return outcome(pid_);
  }

 private:
  pid_t pid_;
  int gate_;
};

void before_next_fsync(const std::function<void()>& what) {
  before_fsync = [what, done = false]() mutable {
    if (!std::exchange(done, true)) what();
  };
}

// Two hosts claim at once. `prepare` runs in each.
void race(const Storage& folder, int rounds, const std::function<void()>& prepare) {
  const auto arbiter = folder.arbiter();
  int first_wins = 0;
  for (int round = 0; round < rounds; ++round) {
    // The last one's winner is the one that may open.
    const std::string uuid = kGuest.substr(0, 33) + std::to_string(100 + round);
    const auto generation = arbiter->open(uuid, "primary");
    int gate[2];
    BOOST_REQUIRE(pipe(gate) == 0);
    const auto host = [&](const std::string& name) {
      return start_host([&, name] {
        close(gate[1]);
        prepare();
        char byte;
        if (read(gate[0], &byte, 1) < 0) return false;
        // Without a lock one may find what it has read gone: an error, after which hosts ask again.
        for (int left = 100;; --left) {
          try {
            return folder.arbiter()->claim(uuid, generation, name);
          } catch (const Error&) {
            if (left == 0) throw;
          }
        }
      });
    };
    const pid_t one = host("primary"), two = host("backup");
    close(gate[0]);
    close(gate[1]);  // opens it
    const int a = outcome(one), b = outcome(two);
    BOOST_TEST_INFO_SCOPE("round " << round << ": " << a << " and " << b);
    BOOST_TEST(((a == kGranted && b == kRefused) || (a == kRefused && b == kGranted)));
    first_wins += a == kGranted;
  }
  BOOST_TEST_MESSAGE("the first host won " << first_wins << " of " << rounds);
}

BOOST_AUTO_TEST_SUITE(arbiter_file)

BOOST_AUTO_TEST_CASE(generations_grow) {
  const Storage folder;
  const auto arbiter = folder.arbiter();
  std::uint64_t last = 0;
  for (int i = 0; i < 20; ++i) {
    const auto next = arbiter->open(kGuest, "primary");
    BOOST_TEST(next > last);
    last = next;
  }
  // A folder that lost its records does not count from the start again.
  for (const auto& record : folder.records()) fs::remove(record);
  BOOST_TEST(arbiter->open(kGuest, "primary") > last);
  BOOST_TEST(folder.records().size() == 1u);  // nothing is left over
}

BOOST_AUTO_TEST_CASE(one_is_granted_again_and_again_and_the_other_never) {
  const Storage folder;
  const auto primary = folder.arbiter(), backup = folder.arbiter();
  const auto generation = primary->open(kGuest, "primary");
  for (int i = 0; i < 5; ++i) {
    BOOST_TEST(backup->claim(kGuest, generation, "backup"));
    BOOST_TEST(!primary->claim(kGuest, generation, "primary"));
  }
  // The same guest however its UUID is written.
  BOOST_TEST(!primary->claim("6C3F2B9A-0D1E-4F5A-8B7C-112233445566", generation, "primary"));
}

BOOST_AUTO_TEST_CASE(an_older_generation_is_refused) {
  const Storage folder;
  const auto arbiter = folder.arbiter();
  const auto old = arbiter->open(kGuest, "primary");
  BOOST_TEST(arbiter->claim(kGuest, old, "primary"));
  const auto next = arbiter->open(kGuest, "primary");
  BOOST_TEST(!arbiter->claim(kGuest, old, "primary"));
  BOOST_TEST(!arbiter->claim(kGuest, old, "backup"));
  BOOST_TEST(arbiter->claim(kGuest, next, "backup"));
}

BOOST_AUTO_TEST_CASE(guests_have_nothing_to_do_with_each_other) {
  const Storage folder;
  const auto arbiter = folder.arbiter();
  const std::string other = "6c3f2b9a-0d1e-4f5a-8b7c-112233445567";
  const auto one = arbiter->open(kGuest, "primary"), two = arbiter->open(other, "primary");
  BOOST_TEST(arbiter->claim(kGuest, one, "primary"));
  BOOST_TEST(arbiter->claim(other, two, "backup"));
}

BOOST_AUTO_TEST_CASE(who_was_not_granted_the_guest_opens_no_generation) {
  const Storage folder;
  const auto arbiter = folder.arbiter();
  const auto generation = arbiter->open(kGuest, "primary");
  BOOST_TEST(arbiter->claim(kGuest, generation, "backup"));
  BOOST_CHECK_EXCEPTION(arbiter->open(kGuest, "primary"), Error, is_helpful);
  BOOST_TEST(arbiter->claim(kGuest, generation, "backup"));
  BOOST_TEST(arbiter->open(kGuest, "backup") > generation);
}

BOOST_AUTO_TEST_CASE(a_generation_that_the_folder_does_not_know_is_an_error) {
  const Storage folder, not_mounted;
  const auto generation = folder.arbiter()->open(kGuest, "primary");
  BOOST_CHECK_EXCEPTION((void)folder.arbiter()->claim(kGuest, generation + 1, "primary"), Error,
                        is_helpful);
  BOOST_CHECK_EXCEPTION((void)not_mounted.arbiter()->claim(kGuest, generation, "backup"), Error,
                        is_helpful);
}

BOOST_AUTO_TEST_CASE(of_two_hosts_at_once_one_is_granted) {
  const Storage folder;
  race(folder, 100, [] {});
}

// As with an NFS mount whose locks stay on the host.
BOOST_AUTO_TEST_CASE(of_two_hosts_at_once_one_is_granted_also_without_locks) {
  const Storage folder;
  race(folder, 50, [&] {
    before_fsync = [&folder] {
      for (const auto& entry : fs::directory_iterator(folder.path))
        if (entry.path().extension() == ".lock")
          close(open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
      std::this_thread::sleep_for(1ms);
    };
  });
}

BOOST_AUTO_TEST_CASE(of_two_threads_at_once_one_is_granted) {
  const Storage folder;
  const auto arbiter = folder.arbiter();
  for (int round = 0; round < 20; ++round) {
    const std::string uuid = kGuest.substr(0, 33) + std::to_string(100 + round);
    const auto generation = arbiter->open(uuid, "primary");
    std::atomic<int> granted = 0;
    std::thread one([&] { granted += arbiter->claim(uuid, generation, "primary"); });
    std::thread two([&] { granted += arbiter->claim(uuid, generation, "backup"); });
    one.join();
    two.join();
    BOOST_TEST(granted == 1);
  }
}

// A host stands still in its claim until its lock is gone, and the other goes on alone.
BOOST_AUTO_TEST_CASE(a_claim_that_was_overtaken_is_refused) {
  const Storage folder;
  const auto arbiter = folder.arbiter();
  const auto generation = arbiter->open(kGuest, "primary");
  WaitingHost other([&] { return folder.arbiter()->claim(kGuest, generation, "backup"); });
  before_next_fsync([&] {
    folder.lose_lock();
    BOOST_TEST(other.go() == kGranted);
  });
  BOOST_TEST(!arbiter->claim(kGuest, generation, "primary"));
  BOOST_TEST(arbiter->claim(kGuest, generation, "backup"));
}

// The same, but the other did so much that the number of the claim's file has become free again.
BOOST_AUTO_TEST_CASE(a_claim_that_was_overtaken_by_far_is_no_grant) {
  const Storage folder;
  const auto arbiter = folder.arbiter();
  const auto generation = arbiter->open(kGuest, "primary");
  WaitingHost other([&] {
    const auto backup = folder.arbiter();
    if (!backup->claim(kGuest, generation, "backup")) return false;
    backup->open(kGuest, "backup");
    return backup->claim(kGuest, backup->open(kGuest, "backup"), "backup");
  });
  before_next_fsync([&] {
    folder.lose_lock();
    BOOST_TEST(other.go() == kGranted);
  });
  BOOST_CHECK_EXCEPTION((void)arbiter->claim(kGuest, generation, "primary"), Error, is_helpful);
  BOOST_TEST(!arbiter->claim(kGuest, generation, "primary"));
  BOOST_TEST(arbiter->open(kGuest, "backup") > generation);
  BOOST_TEST(folder.records().size() == 1u);
}

// As before, but the records were removed by the operator meanwhile.
BOOST_AUTO_TEST_CASE(a_claim_whose_record_was_removed_is_no_grant) {
  const Storage folder;
  const auto arbiter = folder.arbiter();
  const auto generation = arbiter->open(kGuest, "primary");
  before_next_fsync([&] { fs::remove(folder.records_in_place().at(0)); });
  BOOST_CHECK_EXCEPTION((void)arbiter->claim(kGuest, generation, "primary"), Error, is_helpful);
}

BOOST_AUTO_TEST_CASE(a_claim_whose_record_was_removed_and_made_anew_is_no_grant) {
  const Storage folder;
  const auto arbiter = folder.arbiter();
  const auto generation = arbiter->open(kGuest, "primary");
  WaitingHost other([&] { return folder.arbiter()->open(kGuest, "backup") > generation; });
  before_next_fsync([&] {
    fs::remove(folder.records_in_place().at(0));
    folder.lose_lock();
    BOOST_TEST(other.go() == kGranted);
  });
  BOOST_CHECK_EXCEPTION((void)arbiter->claim(kGuest, generation, "primary"), Error, is_helpful);
  BOOST_TEST(!arbiter->claim(kGuest, generation, "primary"));
}

BOOST_AUTO_TEST_CASE(a_host_that_dies_in_its_claim_leaves_one_winner_at_most) {
  for (int step = 1; step <= 2; ++step) {
    const Storage folder;
    const auto generation = folder.arbiter()->open(kGuest, "primary");
    const pid_t dying = start_host([&] {
      before_fsync = [&, left = step]() mutable {
        if (--left == 0) _exit(kDied);
      };
      return folder.arbiter()->claim(kGuest, generation, "primary");
    });
    BOOST_TEST(outcome(dying) == kDied);
    // Died before the record was in place: it is the other's to have. After: it is not.
    BOOST_TEST(folder.arbiter()->claim(kGuest, generation, "backup") == (step == 1));
    BOOST_TEST(folder.arbiter()->claim(kGuest, generation, "primary") == (step == 2));
  }
}

BOOST_AUTO_TEST_CASE(storage_that_hangs_is_an_error_in_time) {
  const Storage folder;
  const auto arbiter = folder.arbiter(200ms);
  const auto generation = folder.arbiter()->open(kGuest, "primary");
  static std::atomic<bool> hangs;
  hangs = true;
  before_fsync = [] {
    while (hangs) std::this_thread::sleep_for(1ms);
  };
  for (int i = 0; i < 3; ++i) {
    const auto begin = now();
    BOOST_CHECK_EXCEPTION((void)arbiter->claim(kGuest, generation, "primary"), Error, is_helpful);
    BOOST_TEST(milliseconds(now() - begin) >= 200);
    BOOST_TEST(milliseconds(now() - begin) < 1500);
  }
  hangs = false;
  // The first of these was late and has put nothing in place.
  BOOST_TEST(folder.arbiter()->claim(kGuest, generation, "backup"));
}

BOOST_AUTO_TEST_CASE(a_lock_that_another_process_holds_is_an_error_in_time) {
  const Storage folder;
  const auto generation = folder.arbiter()->open(kGuest, "primary");
  int ready[2];
  BOOST_REQUIRE(pipe(ready) == 0);
  const pid_t holder = fork();
  BOOST_REQUIRE(holder >= 0);
  if (holder == 0) {
    const int fd = open(folder.file("lock").c_str(), O_RDWR | O_CLOEXEC);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(fd, F_SETLK, &lock) != 0 || write(ready[1], "", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte;
  BOOST_REQUIRE(read(ready[0], &byte, 1) == 1);
  const auto begin = now();
  BOOST_CHECK_EXCEPTION(
      (void)folder.arbiter(300ms)->claim(kGuest, generation, "primary"), Error,
      [](const Error& e) { return is_helpful(e) && std::strstr(e.what(), "locked") != nullptr; });
  BOOST_TEST(milliseconds(now() - begin) >= 300);
  BOOST_TEST(milliseconds(now() - begin) < 1500);
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  BOOST_TEST(folder.arbiter()->claim(kGuest, generation, "primary"));
}

BOOST_AUTO_TEST_CASE(a_damaged_record_is_an_error_and_no_grant) {
  const Storage folder;
  const auto arbiter = folder.arbiter();
  const auto generation = arbiter->open(kGuest, "primary");
  const auto record = folder.records_in_place().at(0);
  std::string good;
  std::getline(std::ifstream(record), good);
  const std::string n = std::to_string(generation);
  std::vector<std::string> bad = {
      std::string(good.size(), '\0'),
      "[" + good + "]",
      good + good,
      good + std::string(10000, ' '),
      R"({"generation":0,"holder":""})",
      R"({"generation":-1,"holder":""})",
      R"({"generation":1e3,"holder":""})",
      R"({"generation":"1","holder":""})",
      R"({"generation":99999999999999999999,"holder":""})",
      R"({"generation":)" + n + R"(,"holder":null})",
      R"({"generation":)" + n + R"(,"holder":"a\nb"})",
      R"({"generation":)" + n + R"(,"holder":"","revoked":true})",
      R"({"generation":)" + n + "}",
      R"({"holder":"primary"})",
  };
  for (std::size_t size = 0; size < good.size(); ++size) bad.push_back(good.substr(0, size));
  for (const std::string& text : bad) {
    std::ofstream(record, std::ios::trunc) << text;
    BOOST_TEST_CONTEXT("record '" << text.substr(0, 100) << "'") {
      BOOST_CHECK_EXCEPTION((void)arbiter->claim(kGuest, generation, "primary"), Error, is_helpful);
      BOOST_CHECK_EXCEPTION(arbiter->open(kGuest, "primary"), Error, is_helpful);
    }
  }
  // What a restored copy or a stranger could put there.
  fs::remove(record);
  BOOST_REQUIRE(mkfifo(record.c_str(), 0600) == 0);
  BOOST_CHECK_EXCEPTION((void)arbiter->claim(kGuest, generation, "primary"), Error, is_helpful);
  fs::remove(record);
  fs::create_symlink("/etc/hostname", record);
  BOOST_CHECK_EXCEPTION((void)arbiter->claim(kGuest, generation, "primary"), Error, is_helpful);
  fs::remove(record);
  fs::create_directory(record);
  BOOST_CHECK_EXCEPTION((void)arbiter->claim(kGuest, generation, "primary"), Error, is_helpful);
  fs::remove(record);
  std::ofstream(record) << good;
  BOOST_TEST(arbiter->claim(kGuest, generation, "primary"));
}

BOOST_AUTO_TEST_CASE(the_last_generation_is_not_followed_by_zero) {
  const Storage folder;
  const auto last = std::numeric_limits<std::uint64_t>::max();
  std::ofstream(folder.file("1")) << R"({"generation":)" << last << R"(,"holder":""})";
  BOOST_CHECK_EXCEPTION(folder.arbiter()->open(kGuest, "primary"), Error, is_helpful);
  BOOST_TEST(folder.arbiter()->claim(kGuest, last, "primary"));
}

BOOST_AUTO_TEST_CASE(a_missing_folder_is_an_error) {
  Storage folder;
  fs::remove_all(folder.path);
  BOOST_CHECK_EXCEPTION(folder.arbiter()->open(kGuest, "primary"), Error, is_helpful);
  BOOST_CHECK_EXCEPTION((void)folder.arbiter()->claim(kGuest, 1, "primary"), Error, is_helpful);
}

BOOST_AUTO_TEST_CASE(bad_names_are_errors) {
  const Storage folder;
  const auto arbiter = folder.arbiter();
  for (const std::string uuid :
       {"", "guest", "../../../../../../../../etc/passwd..", "6c3f2b9a-0d1e-4f5a-8b7c-11223344556",
        "6c3f2b9a-0d1e-4f5a-8b7c-11223344556g", "6c3f2b9a/0d1e-4f5a-8b7c-112233445566"})
    BOOST_CHECK_THROW(arbiter->open(uuid, "primary"), Error);
  for (const std::string claimant : {"", "a\nb", "gr\xc3\xbc\xc3\x9f"})
    BOOST_CHECK_THROW((void)arbiter->claim(kGuest, 1, claimant), Error);
  BOOST_CHECK_THROW((void)arbiter->claim(kGuest, 1, std::string(256, 'a')), Error);
  BOOST_TEST(fs::is_empty(folder.path));
}

BOOST_AUTO_TEST_CASE(bad_urls_are_errors) {
  for (const std::string url : {"", "file", "file:", "file:relative", "file://host/folder",
                                "/folder", "nfs:/folder", "File:/folder"})
    BOOST_CHECK_EXCEPTION(make_arbiter(url, 1s), Error, is_helpful);
  BOOST_CHECK_EXCEPTION(make_arbiter("file:/tmp", 0s), Error, is_helpful);
  BOOST_CHECK_EXCEPTION(make_arbiter("file:/tmp", -1s), Error, is_helpful);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep
