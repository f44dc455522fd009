#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "libspecrep/disk/target.h"

namespace specrep::disk {

struct Places;

// What a copy holds of its primary's writes and has not yet applied, on stable storage, so that it
// outlives this host's power: two files, written in turn, with a checksum over each write. Not
// thread-safe. All functions throw Error.
class Journal {
 public:
  // Starts anew; what was there is dropped.
  explicit Journal(const Places& places);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  void append(const Write& write);
  // What was appended is on stable storage when this returns.
  void sync();
  // The disk itself has all up to this number on stable storage.
  void forget(std::uint64_t number);

  // Writes what a journal has into the disk, oldest first, up to the first write that is not whole,
  // puts it on stable storage and removes the journal. Returns how many writes that were; nothing
  // happens without a journal.
  static std::uint64_t replay(const Places& places, Backing& backing);
  static bool exists(const Places& places);
  // Of a copy that needs it no more.
  static void remove(const Places& places);

 private:
  struct File {
    std::string path;
    int fd = -1;
    std::uint64_t bytes = 0, newest = 0;
  };
  void start(File& file);

  std::array<File, 2> files_;
  std::size_t current_ = 0;
  bool synced_ = true;
  std::uint64_t forgotten_ = 0;
};

}  // namespace specrep::disk
