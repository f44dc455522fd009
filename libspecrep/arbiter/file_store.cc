// Fences in a folder on storage that both hosts see. Of a guest there are
//
//   UUID.N          its record; N is one more than that of the record that it replaced, and a
//                   first one's is its generation, so that numbers do not come again when an
//                   operator removes the records
//   UUID.lock       empty, locked (fcntl) while the record is looked at and replaced
//   UUID.new.XXXXXX a record on its way
//
// The lock keeps the hosts out of each other's way, but no grant rests on it alone: a host that is
// cut off from an NFS server loses its locks after a while (for good with mount options such as
// nolock), and a rename that it began then still arrives when the network is back. So a record is
// put in place by link(), which fails when its number is taken, whoever held the lock.

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <future>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "libspecrep/arbiter/fence_store.h"
#include "libspecrep/error.h"
#include "libspecrep/signals_blocked.h"

namespace specrep::arbiter {
namespace {

// Between two tries to get the lock. F_SETLKW would wait beyond any timeout.
constexpr auto kLockRetryInterval = std::chrono::milliseconds(5);

constexpr const char* kFolderAdvice =
    "see that the shared folder is mounted, and that this user may write to it";

TimePoint now() { return std::chrono::steady_clock::now(); }

std::string trouble(const std::string& doing) { return errno_text("the arbiter: " + doing); }

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

// One operation on files at a time in this process: its locks are not between its threads, and
// closing any descriptor of the lock file would drop another thread's lock. It also bounds the
// threads that wait for a server that has gone.
class Turn {
 public:
  // Throws Error when it does not come by the deadline.
  explicit Turn(TimePoint deadline) {
    std::unique_lock lock(queue().mutex);
    if (!queue().free.wait_until(lock, deadline, [] { return !queue().taken; }))
      throw Error("the arbiter: an earlier look into the shared folder has not ended in time",
                  "see that its file server answers");
    queue().taken = true;
  }
  Turn(Turn&& other) noexcept : mine_(std::exchange(other.mine_, false)) {}
  ~Turn() {
    if (!mine_) return;
    const std::lock_guard lock(queue().mutex);
    queue().taken = false;
    queue().free.notify_one();
  }

 private:
  struct Queue {
    std::mutex mutex;
    std::condition_variable free;
    bool taken = false;
  };
  // Never destroyed, since a thread may still use it when the process ends.
  static Queue& queue() {
    static Queue& queue = *new Queue;
    return queue;
  }

  bool mine_ = true;
};

// The files of one guest.
class Records {
 public:
  Records(std::string folder, const std::string& guest_uuid)
      : folder_(std::move(folder)), prefix_(guest_uuid + ".") {}

  std::string path(const std::string& suffix) const { return folder_ + "/" + prefix_ + suffix; }
  std::string path(std::uint64_t number) const { return path(std::to_string(number)); }
  std::string how_to_remove() const { return "run `rm " + path("[0-9]*") + "`"; }

  // The numbers, in order.
  std::vector<std::uint64_t> list() const {
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(folder_.c_str()), closedir);
    if (!folder) throw Error(trouble("reading " + folder_), kFolderAdvice);
    std::vector<std::uint64_t> numbers;
    for (;;) {
      errno = 0;
      const dirent* const entry = readdir(folder.get());
      if (entry == nullptr) break;
      const std::string name = entry->d_name;
      if (!name.starts_with(prefix_)) continue;
      const std::string number = name.substr(prefix_.size());
      if (!number.empty() && number.size() <= 18 && number[0] != '0' &&
          number.find_first_not_of("0123456789") == std::string::npos)
        numbers.push_back(std::stoull(number));
    }
    if (errno != 0) throw Error(trouble("reading " + folder_), kFolderAdvice);
    std::sort(numbers.begin(), numbers.end());
    return numbers;
  }

  Fence read(std::uint64_t number) const {
    const std::string file = path(number);
    // Not to be held up by a FIFO.
    const Fd fd(open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (fd.get() < 0) throw Error(trouble("opening " + file), kFolderAdvice);
    std::string text(kRecordBytesMax + 1, '\0');
    std::size_t size = 0;
    while (size < text.size()) {
      const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
      if (got < 0) throw Error(trouble("reading " + file), kFolderAdvice);
      if (got == 0) break;
      size += static_cast<std::size_t>(got);
    }
    text.resize(size);
    return decode_fence(
        text, file,
        "see that its guest, or each guest of its host, runs on one host alone, then " +
            how_to_remove() + " and start the protection again");
  }

  // On disk when it returns.
  void sync_folder() const {
    const Fd fd(open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0 || fsync(fd.get()) != 0)
      throw Error(trouble("writing " + folder_ + " to disk"), kFolderAdvice);
  }

 private:
  const std::string folder_;
  const std::string prefix_;
};

// The lock of a guest, held while this lives.
class Lock {
 public:
  Lock(const Records& records, TimePoint deadline)
      : fd_(open(records.path("lock").c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600)) {
    const std::string file = records.path("lock");
    if (fd_.get() < 0) throw Error(trouble("opening " + file), kFolderAdvice);
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    while (fcntl(fd_.get(), F_SETLK, &whole) != 0) {
      if (errno != EAGAIN && errno != EACCES && errno != EINTR)
        throw Error(trouble("locking " + file),
                    "use storage with POSIX locks; NFS version 4 has them");
      if (now() >= deadline)
        throw Error("the arbiter: " + file + " is locked by another process",
                    "see what holds it (lslocks), on the other host as well; with NFS version 3 a "
                    "host that died keeps its locks until it is back");
      std::this_thread::sleep_for(kLockRetryInterval);
    }
  }

 private:
  const Fd fd_;
};

// A new file, which goes when this does; its links stay.
class Temporary {
 public:
  explicit Temporary(const Records& records)
      : path_(records.path("new.XXXXXX")), fd_(mkostemp(path_.data(), O_CLOEXEC)) {
    if (fd_.get() < 0) throw Error(trouble("making " + path_), kFolderAdvice);
  }
  ~Temporary() { unlink(path_.c_str()); }

  const std::string& path() const { return path_; }

  // On disk when it returns.
  void write(const std::string& text) {
    // It is short enough that less than all was written only when the disk is full.
    const ssize_t written = ::write(fd_.get(), text.data(), text.size());
    if (written < 0) throw Error(trouble("writing " + path_), kFolderAdvice);
    if (static_cast<std::size_t>(written) != text.size())
      throw Error("the arbiter: writing " + path_ + ": no space left", kFolderAdvice);
    if (fsync(fd_.get()) != 0) throw Error(trouble("writing " + path_ + " to disk"), kFolderAdvice);
  }

 private:
  std::string path_;
  const Fd fd_;
};

void check_time(TimePoint deadline) {
  if (now() >= deadline)
    throw Error("the arbiter: the shared folder did not answer in time",
                "see that its file server answers");
}

// Puts the fence in the place of record `newest` (0: there is none). False when another was there
// first.
bool replace(const Records& records, std::uint64_t newest, const Fence& fence, Temporary& temporary,
             TimePoint deadline) {
  temporary.write(encode_fence(fence));
  check_time(deadline);
  const std::uint64_t number = newest == 0 ? fence.generation : newest + 1;
  if (link(temporary.path().c_str(), records.path(number).c_str()) != 0) {
    if (errno == EEXIST) return false;
    throw Error(trouble("linking " + records.path(number)), errno == EPERM || errno == EOPNOTSUPP
                                                                ? "use storage with hard links"
                                                                : kFolderAdvice);
  }
  records.sync_folder();
  // The number was free also if, while we stood still without the lock, others took it, replaced
  // that record too and cleaned up, or an operator removed the records. Then the one that ours
  // replaced is gone, or ours is not the newest.
  const auto numbers = records.list();
  const bool in_place = newest == 0 ? numbers.size() == 1
                                    : std::binary_search(numbers.begin(), numbers.end(), newest);
  if (numbers.empty() || numbers.back() != number || !in_place)
    throw Error("the arbiter: " + records.path(number) + " was overtaken by another host's record",
                "ask again; if it comes again, see that the shared folder has working locks");
  for (const std::uint64_t old : numbers)
    if (old < number) unlink(records.path(old).c_str());
  return true;
}

std::optional<Fence> update_records(const Records& records, const FenceStore::Change& change,
                                    TimePoint deadline) {
  const Lock lock(records, deadline);
  for (;;) {
    check_time(deadline);
    // Before the folder is read, since an NFS client then reads it anew, and not from its cache.
    Temporary temporary(records);
    const auto numbers = records.list();
    const std::uint64_t newest = numbers.empty() ? 0 : numbers.back();
    const auto fence = change(newest == 0 ? std::nullopt : std::optional(records.read(newest)));
    if (!fence) return std::nullopt;
    if (replace(records, newest, *fence, temporary, deadline)) return fence;
  }
}

class FileStore final : public FenceStore {
 public:
  explicit FileStore(std::string folder) : folder_(std::move(folder)) {}

  // In a thread of its own, which is left behind when it is late: calls into a file server that
  // has gone may not return for hours.
  std::optional<Fence> update(const std::string& guest_uuid, Change change,
                              TimePoint deadline) override {
    std::packaged_task<std::optional<Fence>()> task(
        [turn = Turn(deadline), records = Records(folder_, guest_uuid), change = std::move(change),
         deadline]() mutable {
          const Turn mine = std::move(turn);  // ends before the result is there
          return update_records(records, change, deadline);
        });
    auto result = task.get_future();
    try {
      const SignalsBlocked blocked;
      std::thread(std::move(task)).detach();
    } catch (const std::system_error& e) {
      throw Error("the arbiter: no thread to look into " + folder_ + ": " + e.what());
    }
    // A little more, for what the thread says of its own that it was late.
    if (result.wait_until(deadline + 2 * kLockRetryInterval) != std::future_status::ready)
      throw Error("the arbiter: " + folder_ + " did not answer in time",
                  "see that its file server answers");
    return result.get();
  }

  std::string how_to_remove(const std::string& guest_uuid) const override {
    return Records(folder_, guest_uuid).how_to_remove();
  }

 private:
  const std::string folder_;
};

}  // namespace

std::unique_ptr<FenceStore> make_file_store(const std::string& location) {
  // file://host/folder would be another host's.
  const bool other_host = location.starts_with("//") && !location.starts_with("///");
  if (!location.starts_with('/') || other_host)
    throw Error("'file:" + location + "' is not an arbiter: the folder's path must be absolute",
                "give file:/FOLDER, a folder that both hosts see");
  return std::make_unique<FileStore>(location);
}

}  // namespace specrep::arbiter
