#include "libspecrep/disk/administration.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>

#include "libspecrep/disk/backing.h"
#include "libspecrep/disk/control_client.h"
#include "libspecrep/disk/intent_bitmap.h"
#include "libspecrep/disk/journal.h"
#include "libspecrep/disk/nbd_device.h"
#include "libspecrep/error.h"

namespace specrep::disk {

namespace {

namespace fs = std::filesystem;

void remove_bitmap(const Places& places) {
  std::error_code error;
  fs::remove(places.bitmap, error);
  if (error) throw Error("cannot remove " + places.bitmap + ": " + error.message());
}

// A record that cannot be read counts as one.
bool is_known(const Places& places) { return access(places.record.c_str(), F_OK) == 0; }

// The loop device that has a file, if any.
std::optional<std::string> loop_device_of(const std::string& path) {
  std::error_code error;
  const std::string real = fs::canonical(path, error);
  for (const auto& device : fs::directory_iterator("/sys/block", error)) {
    std::ifstream file(device.path() / "loop/backing_file");
    std::string name;
    if (std::getline(file, name) && name == real)
      return "/dev/" + device.path().filename().string();
  }
  return {};
}

// Mounts, LVM, RAID and device mapper hold the devices that they use exclusively.
bool is_claimed(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 || !S_ISBLK(info.st_mode)) return false;
  const int file = open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC);
  const bool claimed = file < 0 && errno == EBUSY;
  if (file >= 0) close(file);
  return claimed;
}

// Nobody else has the disk while this lives. A server is less strict: dom0 may find an LVM of the
// guest's on it, and activate that.
std::unique_ptr<Backing> hold(const std::string& path) {
  auto backing = open_backing(path);
  if (is_claimed(path))
    throw Error(path + " is in use in dom0: mounted, or a part of LVM, RAID or a mapping",
                "`lsblk " + path + "` tells as what");
  if (const auto loop = loop_device_of(path))
    throw Error(path + " is in use in dom0 as " + *loop,
                "`losetup -d " + *loop + "` lets go of it");
  return backing;
}

// Sizes of devices are not in what stat() says.
std::uint64_t size_of(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const off_t size = file < 0 ? -1 : lseek(file, 0, SEEK_END);
  const int error = errno;
  if (file >= 0) close(file);
  if (size < 0) throw Error(errno_text(path, error));
  return static_cast<std::uint64_t>(size);
}

template <typename Work>
void note_trouble(Status& status, Work work) {
  try {
    work();
  } catch (const Error& error) {
    status.troubles.push_back(with_advice(error));
  }
}

}  // namespace

std::vector<std::string> known_disks() {
  std::set<std::string> paths;
  const Places any("/any");
  for (const std::string& place : {any.record, any.control_socket}) {
    const std::string extension = fs::path(place).extension();
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(fs::path(place).parent_path(), error)) {
      if (entry.path().extension() != extension) continue;
      std::string path = "/" + entry.path().stem().string();
      std::replace(path.begin(), path.end(), '!', '/');
      paths.insert(path);
    }
  }
  return {paths.begin(), paths.end()};
}

Status look_at(const std::string& path) {
  const Places places(path);
  Status status;
  status.path = path;
  note_trouble(status, [&] { status.record = load_record(places); });
  note_trouble(status, [&] { status.size_bytes = size_of(path); });
  if (const auto index = NbdDevice::find(path)) status.device = "/dev/nbd" + std::to_string(*index);
  if (access(places.control_socket.c_str(), F_OK) == 0)
    note_trouble(status, [&] {
      status.server = ControlClient(places).ask();
      status.marked_chunks = status.server->marked_chunks();
    });
  // One that a server writes could be caught half-written.
  if (!status.server && status.record && access(places.bitmap.c_str(), F_OK) == 0)
    note_trouble(status, [&] {
      status.marked_chunks = IntentBitmap(places.bitmap, status.record->size_bytes).marked();
    });
  return status;
}

void create(const std::string& path, bool force) {
  const Places places(path);
  if (!force && is_known(places))
    throw Error("specrep knows the disk " + path + " already",
                "`specrep-disk status` tells as what; --force makes it this host's own anew, with "
                "what this host's copy holds");
  const auto backing = hold(path);
  const std::uint64_t size_bytes = backing->size_bytes(), sector = sector_bytes(path);
  if (size_bytes == 0 || size_bytes % sector != 0)
    throw Error(path + " has " + std::to_string(size_bytes) + " bytes",
                "make it a multiple of " + std::to_string(sector) + ", and not empty");
  Record record;
  record.generation = make_generation();
  record.size_bytes = size_bytes;
  // First: beside this generation no bitmap of an earlier one counts.
  save_record(places, record);
  Journal::remove(places);
  remove_bitmap(places);
  IntentBitmap bitmap(places.bitmap, size_bytes);
  bitmap.mark_all();
  bitmap.sync();
}

void promote(const std::string& path) {
  const Places places(path);
  const auto backing = hold(path);
  auto record = load_record(places);
  if (!record) throw Error("specrep does not know the disk " + path, "a guest may use it as it is");
  if (record->role == Record::Role::kOwn)
    throw Error(path + " is this host's own already: a guest may use it");
  const std::string force = "if no other is left, `specrep-disk create --force " + path +
                            "` makes it this host's own as it is, to be repaired by hand";
  if (record->role == Record::Role::kSyncing)
    throw Error(path + " is a copy that is not complete, or was discarded", force);
  if (record->open && !Journal::exists(places))
    throw Error("this host went down while it wrote to the copy " + path +
                    ": writes that the guest had flushed may be missing in it",
                "protect the guest again, and the copy gets all (with --disk-durable this host's "
                "power may fail as well); " +
                    force);
  if (record->open) Journal::replay(places, *backing);
  record->role = Record::Role::kOwn;
  record->open = record->followed = false;
  record->generation = make_generation();
  record->base.reset();
  save_record(places, *record);
}

void discard(const std::string& path, bool force) {
  const Places places(path);
  if (!is_known(places))
    throw Error("specrep does not know the disk " + path,
                "the first protection overwrites it as it is");
  const auto backing = hold(path);
  if (!force) {
    const auto record = load_record(places);
    if (record && record->role == Record::Role::kOwn)
      throw Error(path + " is this host's own: what its guest wrote here would be lost",
                  "--force, if the other host's copy is the one to keep");
  }
  Record record;
  record.role = Record::Role::kSyncing;
  record.size_bytes = backing->size_bytes();
  save_record(places, record);
  Journal::remove(places);
  remove_bitmap(places);
}

}  // namespace specrep::disk
