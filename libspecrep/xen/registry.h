#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "libspecrep/xen/domain.h"

namespace specrep::xen {

// What this host protects, or keeps a copy of, as tools may read it: one xenstore folder
// /tool/specrep/UUID per guest, with the nodes below, and a lock file /run/specrep/UUID.lock
// that the process holds as long as it lives. An entry whose lock is free is stale.
struct Protection {
  std::string uuid;
  std::string name;
  std::uint32_t domid = 0;
  std::string role;  // "primary" or "backup"
  std::string
      state;  // "first-copy", "protected", "recording", "waiting", "primary-lost", "activating", …
  std::string peer;  // the other host, as the operator named it or as it names itself
  pid_t pid = 0;
  bool alive = true;      // the process holds its lock; only set by list()
  nlohmann::json status;  // counters, as specrep-primary and specrep-backup define them
};

// With the members' names as keys: nlohmann::json makes itself from one, or from a list of them, by this.
void to_json(nlohmann::json& json, const Protection& protection);

// What this process, as the primary, is to register for a guest of this host.
Protection primary_of(const Domain& domain, const std::string& state, const std::string& peer);

// Owns a guest's lock and xenstore folder. The destructor removes both.
class Registration {
 public:
  // Throws Error when another process holds the guest's lock on this host: it is protected, or
  // kept as a copy, already.
  explicit Registration(Protection protection);
  ~Registration();
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  // Changes what is published; role, uuid and pid stay.
  void update(const std::string& state, std::uint32_t domid, const nlohmann::json& status);

 private:
  Protection protection_;
  Xenstore store_;
  int lock_fd_;
};

// All entries of this host, stale ones too, by name.
std::vector<Protection> list_protections();

// The entry of a guest that is named by name, id or uuid. A stale one counts only if no other fits.
std::optional<Protection> find_protection(const std::string& guest);

// Removes what a dead process left in xenstore.
void remove_stale(const Protection& protection);

}  // namespace specrep::xen
