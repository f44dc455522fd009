#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace specrep::sim {

// Knows by itself what the guest's memory and disk were at the end of each epoch and what has
// reached the network, and says when one of the rules of design.md ("What must never happen") is
// broken. It uses nothing of the library.
//
// A copy is one running of the guest on one host; its number is for ever. Epochs of a protection
// are counted here, by how often the guest stood still.
class Oracle {
 public:
  using Bytes = std::vector<std::byte>;

  // The first copy, whose disk is all zeroes. disk_bytes 0: it has none.
  int first_copy(std::size_t disk_bytes);

  // The copy's output is held from the end of its first epoch on. Returns the protection's number.
  std::size_t protection_starts(int copy);
  // It stands still: an epoch of it ends.
  void stands_still(int copy, Bytes memory);
  // All of the oldest epoch that the backup did not have is there now; this is what it would start
  // from. The backup of an earlier protection, which was cut off, may get what was on its way: it
  // must not start from it.
  void backup_has(int copy, std::size_t protection, const Bytes& memory);
  // A copy is started on the other host. Returns its number.
  int starts(int from, const Bytes& memory, const Bytes& disk);
  // What it sent is held no more: it goes on alone.
  void lets_out(int copy);
  void ends(int copy) { at(copy).exists = false; }

  // A frame is handed out by the guest, and then leaves the host. Returns the frame's number.
  int sends(int copy);
  void leaves(int frame);

  void writes(int copy, std::size_t offset, std::span<const std::byte> data);

  // What a client saw.
  void complain(const std::string& what) {
    if (violation_.empty()) violation_ = what;
  }

  // Empty: all is well.
  const std::string& violation() const { return violation_; }
  // Of the running protection.
  std::size_t epochs_ended(int copy) { return at(copy).ended; }
  std::size_t epochs_at_backup(int copy) { return at(copy).committed; }
  // With all that it has written.
  Bytes disk_of(int copy);

 private:
  struct Write {
    std::size_t offset;
    Bytes data;
  };
  struct Copy {
    bool exists = true;
    bool is_protected = false;
    std::size_t protections = 0;
    // Of its newest protection:
    std::size_t ended = 0, committed = 0, newest_left = 0;
    int successor = -1;
    std::size_t successor_epoch = 0;
    std::map<std::size_t, Bytes> memory;               // by epoch, from `committed` on
    Bytes disk;                                        // as of `committed`
    std::map<std::size_t, std::vector<Write>> writes;  // by epoch, after that
  };
  struct Frame {
    int copy;
    std::size_t protection, epoch;
  };
  Copy& at(int copy) { return copies_[static_cast<std::size_t>(copy)]; }
  static void apply(Copy& copy, std::size_t up_to);

  std::deque<Copy> copies_;
  std::vector<Frame> frames_;
  std::string violation_;
};

}  // namespace specrep::sim
