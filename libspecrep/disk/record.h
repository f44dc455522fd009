#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace specrep::disk {

// Names what a disk holds; drawn anew when a copy starts to take writes that the other host may
// never see: at an activation, and when a server starts on a disk that a backup has followed. At
// most two hosts share one: a whole copy draws it anew as well.
using Generation = std::array<std::uint8_t, 16>;
Generation make_generation();

// Where this host keeps what it knows of a replicated disk, and where its server is reached. `path`
// is that of the guest's configuration: an absolute path. Its '/' become '!', as the kernel writes
// device names.
struct Places {
  // Throws Error when the path is not absolute, has a '!', or is too long for a socket's name.
  explicit Places(const std::string& path);
  std::string path;
  std::string id;              // dev!vg0!web1
  std::string record;          // /var/lib/specrep/disk/ID.json
  std::string bitmap;          // /var/lib/specrep/disk/ID.bitmap
  std::string journal;         // /var/lib/specrep/disk/ID.journal, see Journal
  std::string nbd_socket;      // /run/specrep/disk/ID.nbd
  std::string control_socket;  // /run/specrep/disk/ID.control
  std::string lock;            // /run/specrep/disk/ID.lock, held by its server
};

// What this host's copy of a disk is, across restarts.
struct Record {
  enum class Role {
    kOwn,      // a guest of this host may use it
    kSyncing,  // being overwritten by the other host's: of no use until that has finished
    kCopy,     // follows the other host's
  };
  Role role = Role::kOwn;
  // Of a copy: being written to. After this host went down like this, the disk may have later
  // writes and miss earlier ones that a guest had flushed.
  bool open = false;
  Generation generation{};
  std::optional<Generation> base;  // the one before, if any copy may still have that
  // A backup has had this generation.
  bool followed = false;
  std::uint64_t size_bytes = 0;
};
const char* to_string(Record::Role role);

// Puts a changed record on stable storage, or throws Error.
using KeepRecord = std::function<void(const Record&)>;

// Nothing when there is none: the disk was never replicated. Throws Error when it cannot be read.
std::optional<Record> load_record(const Places& places);
// Returns when it is on stable storage. Makes the folder where needed.
void save_record(const Places& places, const Record& record);

// Throws Error, with what to do, when no guest of this host may use the disk.
void check_own(const Places& places, const std::optional<Record>& record);

// This copy goes on by itself: a new generation, whose base is the one that the other host has.
void part(Record& record);

// Makes a copy this host's own, with a new generation: its guest starts here. Only for whoever
// knows that it may, and that the copy has all. By hand: see administration.h.
void make_own(const Places& places, Record record);

}  // namespace specrep::disk
