// block-specrep: the hotplug script of replicated disks (script=block-specrep in a guest's
// configuration). libxl runs it as `block-specrep add|remove` with the disk's folder in xenstore in
// XENBUS_PATH. In one process, since a guest waits for it while it is activated.
//
// Keys: docs/misc/block-scripts.txt of Xen, and what blkback and libxl read.

extern "C" {
#include <xenstore.h>
}

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

namespace {

constexpr const char* kServer = SPECREP_EXEC_FOLDER "/specrep-diskd";

class Store {
 public:
  explicit Store(const std::string& folder) : folder_(folder), xs_(xs_open(0)) {
    if (!xs_) throw std::runtime_error("xenstore cannot be reached");
  }
  ~Store() { xs_close(xs_); }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  std::string read(const std::string& key) const {
    unsigned length = 0;
    const std::unique_ptr<char, decltype(&std::free)> value(
        static_cast<char*>(xs_read(xs_, XBT_NULL, (folder_ + "/" + key).c_str(), &length)),
        &std::free);
    return value ? std::string(value.get(), length) : "";
  }
  void write(const std::string& key, const std::string& value) {
    if (!xs_write(xs_, XBT_NULL, (folder_ + "/" + key).c_str(), value.data(),
                  static_cast<unsigned>(value.size())))
      throw std::runtime_error("cannot write " + folder_ + "/" + key + " into xenstore");
  }

 private:
  const std::string folder_;
  xs_handle* const xs_;
};

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

void add(Store& store) {
  // Again, for a guest that has it already.
  if (!store.read("physical-device").empty()) return store.write("hotplug-status", "connected");
  const std::string path = store.read("params");
  if (path.empty()) throw std::runtime_error("the disk has no target");
  const std::string device = run_server(nullptr, path);
  struct stat status {};
  if (stat(device.c_str(), &status) || !S_ISBLK(status.st_mode))
    throw std::runtime_error(device + " is no block device");
  char number[32];
  std::snprintf(number, sizeof number, "%x:%x", major(status.st_rdev), minor(status.st_rdev));
  store.write("node", device);
  // For device models; libxl takes it from here.
  store.write("physical-device-path", device);
  store.write("physical-device", number);
  store.write("hotplug-status", "connected");
}

void remove(Store& store) {
  const std::string path = store.read("params");
  if (!path.empty()) run_server("--stop", path);
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
    Store store(folder);
    try {
      command == "add" ? add(store) : remove(store);
      return 0;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "block-specrep %s: %s\n", command.c_str(), error.what());
      if (command == "add") {
        store.write("hotplug-error", error.what());
        store.write("hotplug-status", "error");
      }
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "block-specrep: %s\n", error.what());
  }
  return 1;
}
