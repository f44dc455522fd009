#include "tools/hotplug.h"

#include <fcntl.h>
#include <mntent.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include <xenstore.h>
}

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

namespace specrep::tools {

namespace {

constexpr const char* kServer = SPECREP_EXEC_FOLDER "/specrep-diskd";
constexpr const char* kLockFolder = "/run/specrep";
constexpr const char* kBackends = "backend/vbd";
constexpr const char* kQemuBackends = "backend/qdisk";  // their params are "aio:PATH" or the like

}  // namespace

Store::Store() : xs_(xs_open(0)) {
  if (!xs_) throw std::runtime_error("xenstore cannot be reached");
}

Store::~Store() { xs_close(xs_); }

std::string Store::read(const std::string& path) const {
  unsigned length = 0;
  const std::unique_ptr<char, decltype(&std::free)> value(
      static_cast<char*>(xs_read(xs_, XBT_NULL, path.c_str(), &length)), &std::free);
  return value ? std::string(value.get(), length) : "";
}

std::vector<std::string> Store::list(const std::string& path) const {
  unsigned count = 0;
  const std::unique_ptr<char*, decltype(&std::free)> names(
      xs_directory(xs_, XBT_NULL, path.c_str(), &count), &std::free);
  return names ? std::vector<std::string>(names.get(), names.get() + count)
               : std::vector<std::string>();
}

void Store::write(const std::string& path, const std::string& value) {
  if (!xs_write(xs_, XBT_NULL, path.c_str(), value.data(), static_cast<unsigned>(value.size())))
    throw std::runtime_error("cannot write " + path + " into xenstore");
}

void Store::remove(const std::string& path) { xs_rm(xs_, XBT_NULL, path.c_str()); }

DiskLock::DiskLock(std::string disk) {
  for (char& c : disk)
    if (c == '/') c = '!';
  mkdir(kLockFolder, 0700);
  const std::string path = std::string(kLockFolder) + "/block" + disk + ".lock";
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file_ < 0 || flock(file_, LOCK_EX) != 0)
    throw std::runtime_error("cannot lock " + path + ": " + std::strerror(errno));
}

DiskLock::~DiskLock() { close(file_); }

std::string guest_of(const Store& store, const std::string& domid) {
  const std::string target = store.read("/local/domain/" + domid + "/target");
  return store.read("/local/domain/" + (target.empty() ? domid : target) + "/vm");
}

std::vector<DiskUser> disk_users(const Store& store, const std::string& disk,
                                 const std::string& except) {
  std::vector<DiskUser> users;
  for (const std::string backends : {kBackends, kQemuBackends})
    for (const std::string& domid : store.list(backends))
      for (const std::string& device : store.list(backends + "/" + domid)) {
        const std::string folder = backends + "/" + domid + "/" + device;
        const std::string params = store.read(folder + "/params");
        const bool has_it = backends == kBackends
                                ? params == disk && !store.read(folder + "/physical-device").empty()
                                : params.substr(params.find(':') + 1) == disk;
        // What Xen has left of a domain that is gone is no user.
        if (has_it && folder != except && (domid == "0" || !guest_of(store, domid).empty()))
          users.push_back({domid, store.read(folder + "/mode")});
      }
  return users;
}

bool is_mounted(const std::string& device) {
  const std::unique_ptr<std::FILE, decltype(&endmntent)> mounts(setmntent("/proc/mounts", "r"),
                                                                &endmntent);
  if (!mounts) return false;
  while (const mntent* mount = getmntent(mounts.get())) {
    const std::string name = mount->mnt_fsname;
    if (name == device || name.starts_with(device + "p")) return true;
  }
  return false;
}

std::string run_diskd(const char* option, const std::string& path) {
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
  for (ssize_t got = 0; (got = read(pipe_ends[0], part, sizeof part)) > 0;)
    said.append(part, static_cast<std::size_t>(got));
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  while (!said.empty() && said.back() == '\n') said.pop_back();
  if (status != 0) throw std::runtime_error(said.empty() ? "specrep-diskd failed" : said);
  return said;
}

}  // namespace specrep::tools
