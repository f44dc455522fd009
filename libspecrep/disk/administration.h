#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libspecrep/disk/record.h"
#include "libspecrep/wire/message.h"

// What an administrator sees of this host's replicated disks, and changes by hand. `path` is always
// that of the guest's configuration. All that change something throw Error while a server or
// specrep-backup has the disk.
namespace specrep::disk {

struct Status {
  std::string path;
  std::optional<Record> record;
  std::optional<std::uint64_t> size_bytes;     // of the disk itself
  std::optional<std::string> device;           // /dev/nbdN that a guest of this host uses
  std::optional<wire::DiskState> server;       // when one answers
  std::optional<std::uint64_t> marked_chunks;  // of IntentBitmap::kChunkBytes, in the bitmap
  std::vector<std::string> troubles;           // why something of this is not known
};

// Those of which this host has a record, or that it serves; sorted.
std::vector<std::string> known_disks();
Status look_at(const std::string& path);

// Makes the disk this host's own, under a generation that no other copy is related to: the next
// protection copies all of it. Throws Error when specrep knows it already, unless forced: then what
// is in this host's copy counts, whether it was complete or not.
void create(const std::string& path, bool force);

// Makes a complete copy this host's own, for when the other host does not come back. If it does,
// its copy is no relative of this one: neither overwrites the other before discard() on one host.
// A copy that was open when this host went down gets what its journal holds.
void promote(const std::string& path);

// What this host's copy holds is not needed: the next protection overwrites all of it, and it is
// not served before. Throws Error when it is this host's own, unless forced.
void discard(const std::string& path, bool force);

}  // namespace specrep::disk
