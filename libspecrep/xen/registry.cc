#include "libspecrep/xen/registry.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "libspecrep/error.h"

namespace specrep::xen {

namespace {

constexpr const char* kFolder = "/tool/specrep";
constexpr const char* kLockFolder = "/run/specrep";

// Others write to xenstore as well, so a transaction may have to be repeated; one that fails
// this often is not failing by chance.
constexpr int kTransactionTriesMax = 100;

void transact(Xenstore& store, const std::function<void(xs_transaction_t)>& body) {
  for (int tries = 0; tries < kTransactionTriesMax; ++tries) {
    const xs_transaction_t t = xs_transaction_start(store.get());
    if (t == XBT_NULL) throw Error(errno_text("starting a xenstore transaction"));
    try {
      body(t);
    } catch (...) {
      xs_transaction_end(store.get(), t, true);
      throw;
    }
    if (xs_transaction_end(store.get(), t, false)) return;
    if (errno != EAGAIN) throw Error(errno_text("ending a xenstore transaction"));
  }
  throw Error("writing to xenstore under " + std::string(kFolder) + ": always interrupted");
}

std::string folder_of(const std::string& uuid) { return std::string(kFolder) + "/" + uuid; }
std::string lock_path(const std::string& uuid) {
  return std::string(kLockFolder) + "/" + uuid + ".lock";
}

void publish(Xenstore& store, const Protection& p) {
  const std::string folder = folder_of(p.uuid) + "/";
  transact(store, [&](xs_transaction_t t) {
    store.write(folder + "name", p.name, t);
    store.write(folder + "domid", std::to_string(p.domid), t);
    store.write(folder + "role", p.role, t);
    store.write(folder + "state", p.state, t);
    store.write(folder + "peer", p.peer, t);
    store.write(folder + "pid", std::to_string(p.pid), t);
    // One node, since whoever reads one counter wants those of the same moment.
    store.write(folder + "status", p.status.is_null() ? "{}" : p.status.dump(), t);
  });
}

// An open file description lock: it goes with the process however that ends, and, unlike
// flock's, can be asked about without being taken.
struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

// Whether a process holds the lock of this guest.
bool lock_held(const std::string& uuid) {
  const int fd = open(lock_path(uuid).c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return errno != ENOENT;  // not root: cannot tell, so say nothing bad
  struct flock lock = whole_file();
  const bool held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  close(fd);
  return held;
}

// The lock file may be removed by its last owner between our open() and our lock; then what we
// locked is not what the next one will find.
bool still_in_place(int fd, const std::string& path) {
  struct stat ours {
  }, there{};
  return fstat(fd, &ours) == 0 && stat(path.c_str(), &there) == 0 && ours.st_ino == there.st_ino &&
         ours.st_dev == there.st_dev;
}

int take_lock(const Protection& p) {
  const std::string path = lock_path(p.uuid);
  if (mkdir(kLockFolder, 0700) != 0 && errno != EEXIST)
    throw Error(errno_text("making " + std::string(kLockFolder)), "run this as root");
  for (;;) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) throw Error(errno_text("opening " + path), "run this as root");
    struct flock lock = whole_file();
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
      const bool taken = errno == EAGAIN || errno == EACCES;
      const std::string why = errno_text("locking " + path);
      close(fd);
      if (!taken) throw Error(why);
      throw Error(p.name + " is already protected by this host, or kept here as a copy",
                  "`xl remus-spec-list` shows it; `xl remus-spec-stop " + p.name + "` ends it");
    }
    if (still_in_place(fd, path)) {
      const std::string pid = std::to_string(p.pid) + "\n";
      // For people who look; nothing depends on it.
      if (ftruncate(fd, 0) != 0 || write(fd, pid.data(), pid.size()) < 0) {
      }
      return fd;
    }
    close(fd);
  }
}

std::uint32_t to_number(const std::optional<std::string>& text) {
  return text ? static_cast<std::uint32_t>(std::strtoul(text->c_str(), nullptr, 10)) : 0;
}

}  // namespace

void to_json(nlohmann::json& json, const Protection& p) {
  json = {{"uuid", p.uuid}, {"name", p.name},   {"domid", p.domid},
          {"role", p.role}, {"state", p.state}, {"peer", p.peer},
          {"pid", p.pid},   {"alive", p.alive}, {"status", p.status}};
}

Protection primary_of(const Domain& domain, const std::string& state, const std::string& peer) {
  Protection protection;
  protection.uuid = to_string(domain.uuid);
  protection.name = domain.name;
  protection.domid = domain.domid;
  protection.role = "primary";
  protection.state = state;
  protection.peer = peer;
  protection.pid = getpid();
  return protection;
}

Registration::Registration(Protection protection)
    : protection_(std::move(protection)), lock_fd_(take_lock(protection_)) {
  try {
    publish(store_, protection_);
  } catch (...) {
    unlink(lock_path(protection_.uuid).c_str());
    close(lock_fd_);
    throw;
  }
}

Registration::~Registration() {
  try {
    store_.remove(folder_of(protection_.uuid));
  } catch (const Error&) {
    // The entry is then stale, and is removed by whoever sees it next.
  }
  unlink(lock_path(protection_.uuid).c_str());  // before it is unlocked: see still_in_place()
  close(lock_fd_);
}

void Registration::update(const std::string& state, std::uint32_t domid,
                          const nlohmann::json& status) {
  protection_.state = state;
  protection_.domid = domid;
  protection_.status = status;
  publish(store_, protection_);
}

std::vector<Protection> list_protections() {
  Xenstore store;
  std::vector<Protection> all;
  for (const std::string& uuid : store.directory(kFolder)) {
    const std::string folder = folder_of(uuid) + "/";
    Protection p;
    p.uuid = uuid;
    p.name = store.read(folder + "name").value_or("");
    p.role = store.read(folder + "role").value_or("");
    if (p.role.empty()) continue;  // removed while we read
    p.domid = to_number(store.read(folder + "domid"));
    p.state = store.read(folder + "state").value_or("");
    p.peer = store.read(folder + "peer").value_or("");
    p.pid = static_cast<pid_t>(to_number(store.read(folder + "pid")));
    p.status = nlohmann::json::parse(store.read(folder + "status").value_or("{}"), nullptr, false);
    if (!p.status.is_object()) p.status = nlohmann::json::object();
    p.alive = lock_held(uuid);
    all.push_back(std::move(p));
  }
  std::sort(all.begin(), all.end(),
            [](const Protection& a, const Protection& b) { return a.name < b.name; });
  return all;
}

std::optional<Protection> find_protection(const std::string& guest) {
  std::optional<Protection> found;
  for (const Protection& p : list_protections()) {
    if (p.name != guest && p.uuid != guest && std::to_string(p.domid) != guest) continue;
    if (!found || p.alive) found = p;
  }
  return found;
}

void remove_stale(const Protection& protection) {
  if (lock_held(protection.uuid)) return;  // somebody protects the guest again
  Xenstore().remove(folder_of(protection.uuid));
  unlink(lock_path(protection.uuid).c_str());
}

}  // namespace specrep::xen
