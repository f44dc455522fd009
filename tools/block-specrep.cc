// block-specrep: the hotplug script of replicated disks (script=block-specrep in a guest's
// configuration). libxl runs it as `block-specrep add|remove` with the disk's folder in xenstore in
// XENBUS_PATH. In one process, since a guest waits for it while it is activated.
//
// Keys: docs/misc/block-scripts.txt of Xen, and what blkback and libxl read. One server serves all
// guests that have the disk: several that only read it, or a guest and what it becomes by a
// migration within this host.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "tools/hotplug.h"

namespace {

using namespace specrep::tools;

bool writes(const std::string& mode) { return mode.find('w') != std::string::npos; }

// As Xen's own script does: whoever writes to a disk has it alone, unless the configuration says
// "w!".
void check_sharing(const Store& store, const std::string& folder, const std::string& disk) {
  const std::string mode = store.read(folder + "/mode");
  if (mode.find('!') != std::string::npos) return;
  const std::string guest = guest_of(store, store.read(folder + "/frontend-id"));
  for (const DiskUser& user : disk_users(store, disk, folder)) {
    if (!writes(mode) && !writes(user.mode)) continue;
    if (!guest.empty() && guest_of(store, user.domid) == guest) continue;
    throw std::runtime_error(disk + " is in use by domain " + user.domid);
  }
}

void add(Store& store, const std::string& folder) {
  const std::string path = store.read(folder + "/params");
  if (path.empty()) throw std::runtime_error("the disk has no target");
  const DiskLock lock(path);
  // Again, for a guest that has it already.
  if (!store.read(folder + "/physical-device").empty())
    return store.write(folder + "/hotplug-status", "connected");
  check_sharing(store, folder, path);
  const std::string device = run_diskd(nullptr, path);
  // `specrep-disk attach` has served it before.
  if (writes(store.read(folder + "/mode")) && is_mounted(device))
    throw std::runtime_error(device + " is mounted in dom0");
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
  const DiskLock lock(path);
  // Xen removes the folder later; until then another guest's removal would take this for a user.
  store.remove(folder + "/physical-device");
  if (disk_users(store, path, folder).empty()) run_diskd("--stop", path);
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
