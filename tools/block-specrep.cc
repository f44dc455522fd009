// block-specrep: the hotplug script of replicated disks (script=block-specrep in a guest's
// configuration). libxl runs it as `block-specrep add|remove` with the disk's folder in xenstore in
// XENBUS_PATH. In one process, since a guest waits for it while it is activated.
//
// Keys: docs/misc/block-scripts.txt of Xen, and what blkback and libxl read. One server serves all
// guests that have the disk: several that only read it, or a guest and what it becomes by a
// migration within this host.

extern "C" {
#include <xenstore.h>
}

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr const char* kServer = SPECREP_EXEC_FOLDER "/specrep-diskd";
constexpr const char* kLockFolder = "/run/specrep";
constexpr const char* kBackends = "backend/vbd";

class Store {
 public:
  Store() : xs_(xs_open(0)) {
    if (!xs_) throw std::runtime_error("xenstore cannot be reached");
  }
  ~Store() { xs_close(xs_); }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Empty when there is none.
  std::string read(const std::string& path) const {
    unsigned length = 0;
    const std::unique_ptr<char, decltype(&std::free)> value(
        static_cast<char*>(xs_read(xs_, XBT_NULL, path.c_str(), &length)), &std::free);
    return value ? std::string(value.get(), length) : "";
  }
  std::vector<std::string> list(const std::string& path) const {
    unsigned count = 0;
    const std::unique_ptr<char*, decltype(&std::free)> names(
        xs_directory(xs_, XBT_NULL, path.c_str(), &count), &std::free);
    return names ? std::vector<std::string>(names.get(), names.get() + count)
                 : std::vector<std::string>();
  }
  void write(const std::string& path, const std::string& value) {
    if (!xs_write(xs_, XBT_NULL, path.c_str(), value.data(), static_cast<unsigned>(value.size())))
      throw std::runtime_error("cannot write " + path + " into xenstore");
  }
  void remove(const std::string& path) { xs_rm(xs_, XBT_NULL, path.c_str()); }

 private:
  xs_handle* const xs_;
};

// So that no server is stopped that another guest has just been promised.
class Lock {
 public:
  explicit Lock(std::string disk) {
    for (char& c : disk)
      if (c == '/') c = '!';
    mkdir(kLockFolder, 0700);
    const std::string path = std::string(kLockFolder) + "/block" + disk + ".lock";
    file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file_ < 0 || flock(file_, LOCK_EX) != 0)
      throw std::runtime_error("cannot lock " + path + ": " + std::strerror(errno));
  }
  ~Lock() { close(file_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  int file_;
};

// Which guest a domain is; a device model in a domain of its own is its guest's. Empty: the domain
// is gone, or it is dom0.
std::string guest_of(const Store& store, const std::string& domid) {
  const std::string target = store.read("/local/domain/" + domid + "/target");
  return store.read("/local/domain/" + (target.empty() ? domid : target) + "/vm");
}

struct User {
  std::string domid, mode;
};

// Who else has the disk.
std::vector<User> other_users(const Store& store, const std::string& folder,
                              const std::string& disk) {
  std::vector<User> users;
  for (const std::string& domid : store.list(kBackends))
    for (const std::string& device : store.list(std::string(kBackends) + "/" + domid)) {
      const std::string other = std::string(kBackends) + "/" + domid + "/" + device;
      // What Xen has left of a domain that is gone is no user.
      if (other != folder && store.read(other + "/params") == disk &&
          !store.read(other + "/physical-device").empty() &&
          (domid == "0" || !guest_of(store, domid).empty()))
        users.push_back({domid, store.read(other + "/mode")});
    }
  return users;
}

bool writes(const std::string& mode) { return mode.find('w') != std::string::npos; }

// As Xen's own script does: whoever writes to a disk has it alone, unless the configuration says
// "w!".
void check_sharing(const Store& store, const std::string& folder, const std::string& disk) {
  const std::string mode = store.read(folder + "/mode");
  if (mode.find('!') != std::string::npos) return;
  const std::string guest = guest_of(store, store.read(folder + "/frontend-id"));
  for (const User& user : other_users(store, folder, disk)) {
    if (!writes(mode) && !writes(user.mode)) continue;
    if (!guest.empty() && guest_of(store, user.domid) == guest) continue;
    throw std::runtime_error(disk + " is in use by domain " + user.domid);
  }
}

// Runs the server's program; returns what it prints. What it complains of is thrown.
std::string run_server(const char* option, const std::string& path) {
  int pipe_ends[2];
  if (pipe(pipe_ends)) throw std::runtime_error("no pipe");
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    dup2(pipe_ends[1], STDOUT_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    if (option)
      execl(kServer, kServer, option, path.c_str(), nullptr);
    else
      execl(kServer, kServer, path.c_str(), nullptr);
    std::printf("%s: %s\n", kServer, std::strerror(errno));
    std::fflush(stdout);
    _exit(127);
  }
  close(pipe_ends[1]);
  std::string said;
  char part[512];
  for (ssize_t got; (got = read(pipe_ends[0], part, sizeof part)) > 0;)
    said.append(part, static_cast<std::size_t>(got));
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  while (!said.empty() && said.back() == '\n') said.pop_back();
  if (status != 0) throw std::runtime_error(said.empty() ? "specrep-diskd failed" : said);
  return said;
}

void add(Store& store, const std::string& folder) {
  const std::string path = store.read(folder + "/params");
  if (path.empty()) throw std::runtime_error("the disk has no target");
  const Lock lock(path);
  // Again, for a guest that has it already.
  if (!store.read(folder + "/physical-device").empty())
    return store.write(folder + "/hotplug-status", "connected");
  check_sharing(store, folder, path);
  const std::string device = run_server(nullptr, path);
  struct stat status {};
  if (stat(device.c_str(), &status) || !S_ISBLK(status.st_mode))
    throw std::runtime_error(device + " is no block device");
  char number[32];
  std::snprintf(number, sizeof number, "%x:%x", major(status.st_rdev), minor(status.st_rdev));
  store.write(folder + "/node", device);
  // For device models; libxl takes it from here.
  store.write(folder + "/physical-device-path", device);
  store.write(folder + "/physical-device", number);
  store.write(folder + "/hotplug-status", "connected");
}

void remove(Store& store, const std::string& folder) {
  const std::string path = store.read(folder + "/params");
  if (path.empty()) return;
  const Lock lock(path);
  // Xen removes the folder later; until then another guest's removal would take this for a user.
  store.remove(folder + "/physical-device");
  if (other_users(store, folder, path).empty()) run_server("--stop", path);
}

}  // namespace

int main(int argc, char** argv) {
  const char* folder = std::getenv("XENBUS_PATH");
  const std::string command = argc == 2 ? argv[1] : "";
  if (!folder || (command != "add" && command != "remove")) {
    std::fprintf(stderr,
                 "usage: XENBUS_PATH=backend/vbd/… block-specrep add|remove\n"
                 "It is run by Xen's tools, for disks with script=block-specrep.\n");
    return 2;
  }
  try {
    Store store;
    try {
      command == "add" ? add(store, folder) : remove(store, folder);
      return 0;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "block-specrep %s: %s\n", command.c_str(), error.what());
      if (command == "add") {
        store.write(std::string(folder) + "/hotplug-error", error.what());
        store.write(std::string(folder) + "/hotplug-status", "error");
      }
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "block-specrep: %s\n", error.what());
  }
  return 1;
}
