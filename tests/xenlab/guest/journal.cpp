// The service of the lab guest that has a replicated disk: it writes numbered blocks of 4 KiB to
// it, and remembers in memory what each place must hold. Its one argument is the disk.
//
// Whatever host the guest runs on, memory and disk must agree: a block that memory does not know
// was written after the checkpoint that the guest goes on from, and one that memory knows and the
// disk has not is lost. tests/xenlab/journal.py judges what `verify` tells.
//
// Port 9, TCP line by line, a thread for each connection:
//   write KIND NUMBER      writes a block with that number, and answers "KIND NUMBER" after that, or
//                          "error TEXT". By KIND:
//                            direct        O_DIRECT, past the page cache
//                            flushed       the same, and answered when it is on stable storage
//                            buffered      into the page cache
//                            file          into the page cache, in a file
//                            file-flushed  in a file, and answered after fsync
//                          The newest of each kind are kept, the others overwritten or removed.
//   newest KIND            answers the highest number of that kind so far
//   churn WRITES_PER_S     writes blocks at random places from now on; 0 stops it; answers "ok"
//   verify                 stops that, puts all on stable storage, reads all with O_DIRECT, and
//                          answers what it found, in JSON
//   unmount                ends the use of the disk; answers "ok" or "error TEXT"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint16_t journal_port = 9;
constexpr char folder[] = "/disk";
constexpr std::size_t block_bytes = 4096;
constexpr std::size_t line_bytes_max = 128;
// Of the disk: the file system (image.py), then the newest blocks of each kind, then the churn's.
constexpr off_t rings_offset = 64 << 20;
constexpr off_t churn_offset = 96 << 20;
constexpr std::uint64_t ring_slots = 512;
constexpr std::uint64_t churn_slots = 4096;
constexpr std::uint64_t churn_writers = 2;
constexpr std::uint64_t file_blocks = 64;
constexpr std::uint64_t magic = 0x6c616e72756f6a73;

constexpr std::uint64_t churn_flush_interval = 16;

std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// The kernel's random numbers are the same again after the guest went back to a checkpoint; the
// time is not.
std::uint64_t make_stamp() {
  static std::atomic<std::uint64_t> count = 0;
  return mix(static_cast<std::uint64_t>(Clock::now().time_since_epoch().count()) ^ (++count << 48));
}

// What a place holds. Number 0: nothing was written to it.
struct Entry {
  std::uint64_t number = 0;
  std::uint64_t stamp = 0;
  bool operator==(const Entry& other) const {
    return number == other.number && stamp == other.stamp;
  }
};

class Block {
 public:
  Block() : words_(static_cast<std::uint64_t*>(std::aligned_alloc(block_bytes, block_bytes))) {}

  explicit Block(const Entry& entry) : Block() {
    words_[0] = magic;
    words_[1] = entry.number;
    words_[2] = entry.stamp;
    for (std::size_t i = 3; i < word_count - 1; ++i) words_[i] = entry.stamp * i;
    words_[word_count - 1] = checksum();
  }

  void* data() { return words_.get(); }

  // False: it is neither empty nor as it was written.
  bool read(Entry& entry) const {
    bool empty = true;
    for (std::size_t i = 0; empty && i < word_count; ++i) empty = words_[i] == 0;
    if (!empty && (words_[0] != magic || words_[word_count - 1] != checksum())) return false;
    entry = {words_[1], words_[2]};
    return true;
  }

 private:
  static constexpr std::size_t word_count = block_bytes / sizeof(std::uint64_t);

  struct Free {
    void operator()(std::uint64_t* words) const { std::free(words); }
  };

  std::uint64_t checksum() const {
    std::uint64_t sum = 0xcbf29ce484222325;
    for (std::size_t i = 0; i < word_count - 1; ++i) sum = (sum ^ words_[i]) * 0x100000001b3;
    return sum;
  }

  std::unique_ptr<std::uint64_t[], Free> words_;
};

bool is_written(int fd, Block& block, off_t offset) {
  return pwrite(fd, block.data(), block_bytes, offset) == static_cast<ssize_t>(block_bytes);
}

bool is_read(int fd, Block& block, off_t offset) {
  errno = ENODATA;  // unless pread says better
  return pread(fd, block.data(), block_bytes, offset) == static_cast<ssize_t>(block_bytes);
}

// Reads slots of the disk in turn, many at once: each request takes a while under emulation.
class Reader {
 public:
  bool read(int fd, Block& block, off_t offset) {
    if (offset < offset_ || offset >= offset_ + static_cast<off_t>(bytes)) {
      offset_ = offset;
      errno = ENODATA;
      if (pread(fd, buffer_.get(), bytes, offset) != static_cast<ssize_t>(bytes)) {
        offset_ = -static_cast<off_t>(bytes);
        return is_read(fd, block, offset);
      }
    }
    std::memcpy(block.data(), buffer_.get() + (offset - offset_), block_bytes);
    return true;
  }

 private:
  static constexpr std::size_t bytes = 64 * block_bytes;

  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };

  off_t offset_ = -static_cast<off_t>(bytes);
  std::unique_ptr<char[], Free> buffer_{static_cast<char*>(std::aligned_alloc(block_bytes, bytes))};
};

// A kind of block, and what memory knows of where it is.
struct Kind {
  const char* name;
  off_t offset;  // of its slots on the disk; 0: in files
  std::uint64_t slots;
  bool direct;
  bool flush;
  std::vector<Entry> entries = std::vector<Entry>(slots);
  std::uint64_t newest = 0;

  std::uint64_t keeps() const { return offset ? slots : slots - file_blocks; }
  std::string file(std::uint64_t number) const {
    return std::string(folder) + "/" + name + "/" + std::to_string(number / file_blocks);
  }
};

constexpr off_t ring_bytes = ring_slots * block_bytes;

class Journal {
 public:
  explicit Journal(const char* disk) {
    direct_ = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC);
    buffered_ = open(disk, O_RDWR | O_CLOEXEC);
    if (direct_ < 0 || buffered_ < 0) {
      std::perror("journal: cannot open the disk");
      std::abort();
    }
    for (const Kind& kind : kinds_)
      if (!kind.offset) mkdir((std::string(folder) + "/" + kind.name).c_str(), 0755);
    for (std::uint64_t writer = 0; writer < churn_writers; ++writer)
      std::thread([this, writer] { churn(writer); }).detach();
  }

  std::string obey(const std::string& line) {
    std::istringstream words(line);
    std::string command, name;
    std::uint64_t number = 0;
    words >> command;
    if (command == "write" && words >> name >> number)
      for (Kind& kind : kinds_)
        if (name == kind.name) return write(kind, number);
    if (command == "newest" && words >> name)
      for (const Kind& kind : kinds_)
        if (name == kind.name) return newest(kind);
    if (command == "churn" && words >> number) {
      set_churn(number);
      return "ok";
    }
    if (command == "verify") return verify();
    if (command == "unmount") return unmount();
    return "unknown command";
  }

 private:
  static std::string error(const char* what) {
    return std::string("error ") + what + ": " + std::strerror(errno);
  }

  std::string write(Kind& kind, std::uint64_t number) {
    const std::shared_lock busy(use_);
    const Entry entry{number, make_stamp()};
    remember(kind, number % kind.slots, entry);
    const auto start = Clock::now();
    const std::string trouble = kind.offset ? write_slot(kind, entry) : write_file(kind, entry);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
    const std::lock_guard turn(memory_);
    if (took.count() > slowest_ms_) slowest_ms_ = took.count();
    if (trouble.empty()) return kind.name + (" " + std::to_string(number));
    ++errors_;
    return trouble;
  }

  std::string newest(const Kind& kind) {
    const std::lock_guard turn(memory_);
    return std::to_string(kind.newest);
  }

  void remember(Kind& kind, std::uint64_t slot, const Entry& entry) {
    const std::lock_guard turn(memory_);
    kind.entries[slot] = entry;
    if (entry.number > kind.newest) kind.newest = entry.number;
  }

  std::string write_slot(const Kind& kind, const Entry& entry) {
    Block block(entry);
    const int fd = kind.direct ? direct_ : buffered_;
    const off_t offset = kind.offset + static_cast<off_t>(entry.number % kind.slots * block_bytes);
    if (!is_written(fd, block, offset)) return error("cannot write");
    if (kind.flush && fdatasync(fd) != 0) return error("cannot flush");
    return "";
  }

  std::string write_file(Kind& kind, const Entry& entry) {
    if (entry.number % file_blocks == 0) remove_oldest(kind, entry.number);
    const int fd = open(kind.file(entry.number).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return error("cannot open a file");
    Block block(entry);
    std::string trouble;
    if (!is_written(fd, block, static_cast<off_t>(entry.number % file_blocks * block_bytes)))
      trouble = error("cannot write a file");
    else if (kind.flush && fsync(fd) != 0)
      trouble = error("cannot flush a file");
    close(fd);
    return trouble;
  }

  // Whose slots the file of this number takes over.
  void remove_oldest(Kind& kind, std::uint64_t number) {
    if (number < kind.slots) return;
    unlink(kind.file(number - kind.slots).c_str());
    for (std::uint64_t i = 1; i < file_blocks; ++i)
      remember(kind, (number + i) % kind.slots, Entry{});
  }

  void set_churn(std::uint64_t writes_per_s) {
    const std::lock_guard turn(churn_turn_);
    churn_per_s_ = writes_per_s;
    churn_changed_.notify_all();
  }

  // Every writer has places of its own; every other place is written past the page cache.
  void churn(std::uint64_t writer) {
    constexpr std::uint64_t slots = churn_slots / churn_writers;
    while (true) {
      {
        std::unique_lock turn(churn_turn_);
        churn_changed_.wait(turn, [this] { return churn_per_s_ > 0; });
        const auto wait = std::chrono::microseconds(1'000'000 * churn_writers / churn_per_s_);
        if (churn_changed_.wait_for(turn, wait, [this] { return churn_per_s_ == 0; })) continue;
      }
      const std::shared_lock busy(use_);
      Entry entry{0, make_stamp()};
      const std::uint64_t slot = writer * slots + mix(entry.stamp) % slots;
      {
        const std::lock_guard turn(memory_);
        entry.number = ++churn_.newest;
        churn_.entries[slot] = entry;
      }
      Block block(entry);
      const int fd = slot % 2 ? direct_ : buffered_;
      const bool done =
          is_written(fd, block, churn_.offset + static_cast<off_t>(slot * block_bytes)) &&
          (entry.number % churn_flush_interval != 0 || fdatasync(fd) == 0);
      if (done) continue;
      std::perror("journal: the churn cannot write");
      const std::lock_guard turn(memory_);
      ++errors_;
    }
  }

  std::string verify() {
    set_churn(0);
    const std::unique_lock alone(use_);
    sync();
    const int caches = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (caches < 0 || ::write(caches, "3", 1) != 1) return error("cannot drop the caches");
    close(caches);
    Reader reader;
    std::string kinds, unexplained;
    for (const Kind& kind : kinds_) {
      std::string present;
      for (std::uint64_t slot = 0; slot < kind.slots; ++slot)
        if (const std::uint64_t number = check(kind, slot, reader, unexplained))
          present += (present.empty() ? "" : ",") + std::to_string(number);
      kinds += std::string(kinds.empty() ? "" : ",") + "\"" + kind.name +
               "\":{\"newest\":" + std::to_string(kind.newest) +
               ",\"keeps\":" + std::to_string(kind.keeps()) + ",\"present\":[" + present + "]}";
    }
    for (std::uint64_t slot = 0; slot < churn_slots; ++slot)
      check(churn_, slot, reader, unexplained);
    return "{\"kinds\":{" + kinds + "},\"churned\":" + std::to_string(churn_.newest) +
           ",\"errors\":" + std::to_string(errors_) + ",\"slowest_ms\":" +
           std::to_string(slowest_ms_) + ",\"unexplained\":[" + unexplained + "]}";
  }

  // Reads one place. Returns the number that it holds if that is what memory says, else 0.
  std::uint64_t check(const Kind& kind, std::uint64_t slot, Reader& reader, std::string& unexplained) {
    const Entry& expected = kind.entries[slot];
    if (!kind.offset && expected.number == 0) return 0;
    Block block;
    Entry found;
    std::string trouble;
    if (!read(kind, slot, reader, block))
      trouble = std::strerror(errno);
    else if (!block.read(found))
      trouble = "damaged";
    if (trouble.empty() && found == expected) return found.number;
    unexplained += std::string(unexplained.empty() ? "" : ",") + "{\"kind\":\"" + kind.name +
                   "\",\"place\":" + std::to_string(slot) +
                   ",\"expected\":" + std::to_string(expected.number) +
                   ",\"found\":" + std::to_string(found.number) + ",\"trouble\":\"" + trouble + "\"}";
    return 0;
  }

  bool read(const Kind& kind, std::uint64_t slot, Reader& reader, Block& block) {
    if (kind.offset)
      return reader.read(direct_, block, kind.offset + static_cast<off_t>(slot * block_bytes));
    const std::uint64_t number = kind.entries[slot].number;
    const int fd = open(kind.file(number).c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0) return false;
    const bool done = is_read(fd, block, static_cast<off_t>(number % file_blocks * block_bytes));
    close(fd);
    return done;
  }

  std::string unmount() {
    set_churn(0);
    const std::unique_lock alone(use_);
    sync();
    return umount2(folder, 0) == 0 ? "ok" : error("cannot unmount");
  }

  int direct_ = -1, buffered_ = -1;
  std::vector<Kind> kinds_ = {{"direct", rings_offset, ring_slots, true, false},
                              {"flushed", rings_offset + ring_bytes, ring_slots, true, true},
                              {"buffered", rings_offset + 2 * ring_bytes, ring_slots, false, false},
                              {"file", 0, ring_slots, false, false},
                              {"file-flushed", 0, ring_slots, false, true}};
  Kind churn_{"churn", churn_offset, churn_slots, false, false};

  std::shared_mutex use_;  // held by those who write; alone, by those who look at all
  std::mutex memory_;      // entries, newest, and these:
  std::uint64_t errors_ = 0;
  std::int64_t slowest_ms_ = 0;

  std::mutex churn_turn_;
  std::condition_variable churn_changed_;
  std::uint64_t churn_per_s_ = 0;
};

void serve(Journal& journal, int fd) {
  FILE* lines = fdopen(fd, "r");
  char line[line_bytes_max];
  while (std::fgets(line, sizeof line, lines)) {
    line[std::strcspn(line, "\n")] = 0;
    const std::string text = journal.obey(line) + '\n';
    std::size_t sent = 0;
    while (sent < text.size()) {
      const ssize_t size = send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (size <= 0) break;
      sent += static_cast<std::size_t>(size);
    }
    if (sent < text.size()) break;
  }
  std::fclose(lines);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  Journal journal(argv[1]);
  const int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(journal_port);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 64) != 0) {
    std::perror("journal: cannot open its port");
    return 1;
  }
  std::printf("journal ready\n");
  std::fflush(stdout);
  while (true) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) continue;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::thread(serve, std::ref(journal), fd).detach();
  }
}
