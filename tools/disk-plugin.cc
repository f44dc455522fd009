// specrep-disk-plugin.so: a plugin of nbdkit that serves one disk to a guest of this host, and lets
// the backup follow it while the guest is protected. Started by specrep-diskd as
//   nbdkit … specrep-disk-plugin.so path=/dev/vg0/web1
// where `path` is that of the guest's configuration.

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#include <signal.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>

#include "libspecrep/disk/control_server.h"
#include "libspecrep/error.h"
#include "libspecrep/memory_shortage.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

namespace {

using namespace specrep;
using namespace std::chrono_literals;

// So that chunks that are written all the time are not marked and cleared without end.
constexpr auto kForgetInterval = 5s;
constexpr std::uint32_t kPageBytes = 4096, kRequestBytesMax = 32 << 20;

std::string path;

// All that one server has. Made when nbdkit is about to serve, since it forks before.
class Server {
 public:
  explicit Server(const disk::Record& record)
      : backing(disk::open_backing(path)),
        bitmap_(disk::Places(path).bitmap, backing->size_bytes()),
        source(*backing, bitmap_),
        control_(source, path, record, [](const disk::Record& changed) {
          disk::save_record(disk::Places(path), changed);
        }) {
    housekeeper_ = std::thread([this] { keep_house(); });
  }
  ~Server() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    housekeeper_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  std::unique_ptr<disk::Backing> backing;
  disk::IntentBitmap bitmap_;

 public:
  disk::Source source;

 private:
  void keep_house() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kForgetInterval, [this] { return over_; })) {
      lock.unlock();
      try {
        source.forget_durable();
        bitmap_.sync();
      } catch (const Error& error) {
        nbdkit_error("%s", error.what());
      }
      lock.lock();
    }
  }

  disk::ControlServer control_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread housekeeper_;
};

std::optional<disk::Record> record;
std::unique_ptr<Server> server;

void complain(const Error& error) {
  nbdkit_error("%s%s%s", error.what(), error.advice().empty() ? "" : "; ", error.advice().c_str());
}

// No exception may get into nbdkit. The guest sees EIO; the log says why.
template <typename Work>
int guarded(Work work) {
  try {
    work();
    return 0;
  } catch (const Error& error) {
    complain(error);
  } catch (const std::exception& error) {
    nbdkit_error("internal error: %s", error.what());
  }
  nbdkit_set_error(EIO);
  return -1;
}

int config(const char* key, const char* value) {
  if (std::strcmp(key, "path") != 0) {
    nbdkit_error("unknown parameter '%s'", key);
    return -1;
  }
  path = value;
  return 0;
}

// The disk may be on the way by which dom0 gets memory free.
void stay_in_memory() {
  const auto warn = [](const std::string& what) {
    nbdkit_error("warning: %s; served all the same, but not when memory is short", what.c_str());
  };
  if (const std::string refused = outlive_memory_shortage(); !refused.empty()) warn(refused);
#ifdef PR_SET_IO_FLUSHER
  if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0)) warn(errno_text("PR_SET_IO_FLUSHER"));
#endif
}

int get_ready() {
  return guarded([] {
    const disk::Places places(path);
    record = disk::load_record(places);
    const std::uint64_t size_bytes = disk::open_backing(path)->size_bytes();
    disk::check_own(places, record);
    if (!record) record = disk::Record{};
    if (record->generation == disk::Generation{}) record->generation = disk::make_generation();
    // If the backup took the guest over meanwhile, then both have run from here on.
    if (record->followed) disk::part(*record);
    record->size_bytes = size_bytes;
    disk::save_record(places, *record);
  });
}

int after_fork() {
  return guarded([] {
    // nbdkit 1.32 has itself sent SIGTERM when its parent dies, whether it was told to or not, and
    // then answers what it is asked with errors: the guest must not see those. This is the thread
    // for which it did that; the signal is the last one's who asked for one.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // First, since threads inherit it.
    stay_in_memory();
    server = std::make_unique<Server>(*record);
  });
}

void cleanup() { server.reset(); }

void* open_handle(int) { return NBDKIT_HANDLE_NOT_NEEDED; }

std::int64_t get_size(void*) { return static_cast<std::int64_t>(record->size_bytes); }

int block_size(void*, std::uint32_t* minimum, std::uint32_t* preferred, std::uint32_t* maximum) {
  return guarded([&] {
    *minimum = disk::sector_bytes(path);
    *preferred = std::max(*minimum, kPageBytes);
    *maximum = kRequestBytesMax;
  });
}

int yes(void*) { return 1; }
int native(void*) { return NBDKIT_FUA_NATIVE; }

int pread_disk(void*, void* out, std::uint32_t count, std::uint64_t offset, std::uint32_t) {
  return guarded([&] { server->source.read(offset, {static_cast<std::byte*>(out), count}); });
}

int pwrite_disk(void*, const void* data, std::uint32_t count, std::uint64_t offset,
                std::uint32_t flags) {
  return guarded([&] {
    server->source.write(offset, {static_cast<const std::byte*>(data), count},
                         flags & NBDKIT_FLAG_FUA);
  });
}

int zero_disk(void*, std::uint32_t count, std::uint64_t offset, std::uint32_t flags) {
  return guarded([&] { server->source.zero({offset, count}, flags & NBDKIT_FLAG_FUA); });
}

int flush_disk(void*, std::uint32_t) {
  return guarded([] { server->source.flush(); });
}

nbdkit_plugin describe() {
  nbdkit_plugin plugin{};
  plugin.name = "specrep-disk";
  plugin.longname = "specrep's replicated disk";
  plugin.config = config;
  plugin.config_help = "path=PATH  the disk, as the guest's configuration names it";
  plugin.magic_config_key = "path";
  plugin.get_ready = get_ready;
  plugin.after_fork = after_fork;
  plugin.cleanup = cleanup;
  plugin.open = open_handle;
  plugin.get_size = get_size;
  plugin.block_size = block_size;
  plugin.can_write = yes;
  plugin.can_flush = yes;
  plugin.can_trim = yes;
  plugin.can_zero = yes;
  plugin.can_multi_conn = yes;
  plugin.can_fua = native;
  plugin.pread = pread_disk;
  plugin.pwrite = pwrite_disk;
  // What was trimmed reads as zeroes, so that both copies stay alike byte by byte.
  plugin.trim = zero_disk;
  plugin.zero = zero_disk;
  plugin.flush = flush_disk;
  return plugin;
}

nbdkit_plugin plugin = describe();

}  // namespace

extern "C" {
NBDKIT_REGISTER_PLUGIN(plugin)
}
