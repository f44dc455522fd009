#include "oracle.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace specrep::sim {

namespace {

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
constexpr std::size_t kPage = 4096;

std::string name(int copy) { return "copy " + std::to_string(copy); }

std::string first_difference(const Oracle::Bytes& a, const Oracle::Bytes& b) {
  if (a.size() != b.size())
    return std::to_string(a.size()) + " bytes instead of " + std::to_string(b.size());
  const auto at = std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin();
  return "first different: page " + std::to_string(static_cast<std::size_t>(at) / kPage) +
         ", byte " + std::to_string(static_cast<std::size_t>(at) % kPage);
}

}  // namespace

int Oracle::first_copy(std::size_t disk_bytes) {
  copies_.emplace_back();
  copies_.back().disk.resize(disk_bytes);
  return static_cast<int>(copies_.size()) - 1;
}

std::size_t Oracle::protection_starts(int number) {
  Copy& copy = at(number);
  apply(copy, kAll);
  copy.is_protected = true;
  copy.ended = copy.committed = copy.newest_left = 0;
  copy.successor = -1;
  copy.memory.clear();
  return ++copy.protections;
}

void Oracle::stands_still(int number, Bytes memory) {
  Copy& copy = at(number);
  if (!copy.is_protected) return complain(name(number) + " was stopped without being protected");
  copy.memory[++copy.ended] = std::move(memory);
}

void Oracle::backup_has(int number, std::size_t protection, const Bytes& memory) {
  Copy& copy = at(number);
  if (protection != copy.protections) return;
  const std::size_t epoch = copy.committed + 1;
  if (epoch > copy.ended)
    return complain("the backup has epoch " + std::to_string(epoch) + " of " + name(number) +
                    ", which has not ended");
  if (memory != copy.memory[epoch])
    complain("rule 2: the backup's memory for epoch " + std::to_string(epoch) + " of " +
             name(number) + " is not what the guest had; " +
             first_difference(memory, copy.memory[epoch]));
  copy.memory.erase(copy.committed);
  copy.committed = epoch;
  apply(copy, epoch);
}

int Oracle::starts(int from, const Bytes& memory, const Bytes& disk) {
  Copy& copy = at(from);
  const std::string what = "a copy of " + name(from) + " is started";
  if (!copy.is_protected)
    complain("rule 3: " + what + ", which goes on alone");
  else if (copy.committed == 0)
    complain("rule 2: " + what + " without a whole epoch");
  else if (memory != copy.memory[copy.committed])
    complain("rule 2: " + what + " from what is not its epoch " + std::to_string(copy.committed) +
             "; " + first_difference(memory, copy.memory[copy.committed]));
  else if (disk != copy.disk)
    complain("rule 2: " + what + " with another disk than that of epoch " +
             std::to_string(copy.committed) + "; " + first_difference(disk, copy.disk));
  if (copy.newest_left > copy.committed)
    complain("rule 1: output of epoch " + std::to_string(copy.newest_left) + " has left, and " +
             what + " from epoch " + std::to_string(copy.committed));
  if (copy.successor >= 0) complain("rule 3: " + what + " for the second time");
  for (std::size_t i = 0; i < copies_.size(); ++i)
    if (static_cast<int>(i) != from && copies_[i].exists)
      complain("rule 3: " + what + " while there is " + name(static_cast<int>(i)));
  Copy next;
  next.disk = copy.disk;
  copy.successor = static_cast<int>(copies_.size());
  copy.successor_epoch = copy.committed;
  copies_.push_back(std::move(next));
  return static_cast<int>(copies_.size()) - 1;
}

void Oracle::lets_out(int number) {
  Copy& copy = at(number);
  copy.is_protected = false;
  apply(copy, kAll);
  if (copy.successor >= 0)
    complain("rule 3: " + name(number) + " goes on alone, and " + name(copy.successor) +
             " was started");
}

int Oracle::sends(int number) {
  const Copy& copy = at(number);
  frames_.push_back({number, 0, copy.is_protected ? copy.ended + 1 : 0});
  return static_cast<int>(frames_.size()) - 1;
}

void Oracle::leaves(int number) {
  const Frame& frame = frames_[static_cast<std::size_t>(number)];
  Copy& copy = at(frame.copy);
  if (copy.successor >= 0 && frame.epoch > copy.successor_epoch)
    complain("rule 3: " + name(frame.copy) + " sends output of epoch " +
             std::to_string(frame.epoch) + " beside " + name(copy.successor));
  if (!copy.is_protected) return;
  copy.newest_left = std::max(copy.newest_left, frame.epoch);
  // What is sent before the end of the first epoch is not held: nothing can be started before the
  // backup has that epoch.
  if (frame.epoch > 1 && frame.epoch > copy.committed)
    complain("rule 1: output of epoch " + std::to_string(frame.epoch) + " of " + name(frame.copy) +
             " has left, and the backup has epoch " + std::to_string(copy.committed));
}

void Oracle::writes(int number, std::size_t offset, std::span<const std::byte> data) {
  Copy& copy = at(number);
  copy.writes[copy.is_protected ? copy.ended + 1 : 0].push_back(
      {offset, Bytes(data.begin(), data.end())});
}

Oracle::Bytes Oracle::disk_of(int copy) {
  Copy whole;
  whole.disk = at(copy).disk;
  whole.writes = at(copy).writes;
  apply(whole, kAll);
  return whole.disk;
}

void Oracle::apply(Copy& copy, std::size_t up_to) {
  while (!copy.writes.empty() && copy.writes.begin()->first <= up_to) {
    for (const Write& write : copy.writes.begin()->second)
      std::memcpy(copy.disk.data() + write.offset, write.data.data(), write.data.size());
    copy.writes.erase(copy.writes.begin());
  }
}

}  // namespace specrep::sim
