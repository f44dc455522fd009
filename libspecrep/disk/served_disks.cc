#include "libspecrep/disk/served_disks.h"

#include <algorithm>
#include <thread>

#include "libspecrep/disk/intent_bitmap.h"
#include "libspecrep/error.h"

namespace specrep::disk {

namespace {

using namespace std::chrono_literals;

constexpr Duration kFinishTimeout = 5s;
constexpr Duration kFinishPoll = 5ms;

}  // namespace

ServedDisks::ServedDisks(const std::vector<Peer>& peers, std::uint64_t staging_bytes_max)
    : staging_bytes_max_(staging_bytes_max) {
  for (const Peer& peer : peers) {
    disks_.push_back({peer.path, std::make_unique<ControlClient>(Places(peer.path)), 0});
    const wire::DiskState state = disks_.back().client->attach(peer.attach);
    if (!state.lost().empty()) throw Error("the disk " + peer.path + ": " + state.lost());
  }
}

wire::DiskState ServedDisks::ask(Disk& disk, bool begin_epochs) {
  wire::DiskState state = disk.client->ask(begin_epochs);
  if (!state.lost().empty())
    throw Error("the backup does not follow the disk " + disk.path + ": " + state.lost());
  return state;
}

std::uint64_t ServedDisks::missing_bytes() {
  std::uint64_t missing = 0;
  for (Disk& disk : disks_) {
    const wire::DiskState state = ask(disk);
    if (!state.in_sync())
      missing += std::max<std::uint64_t>(1, state.chunks_to_send()) * IntentBitmap::kChunkBytes;
  }
  return missing;
}

std::vector<std::uint64_t> ServedDisks::end_epoch(Epoch epoch) {
  std::vector<std::uint64_t> marks;
  Ended ended{epoch, {}};
  for (Disk& disk : disks_) {
    // Once is enough, and it waits for what is being sent.
    const wire::DiskState state = ask(disk, !began_);
    marks.push_back(state.mark());
    ended.sent_bytes.push_back(state.sent_bytes());
  }
  began_ = true;
  ended_.push_back(std::move(ended));
  return marks;
}

void ServedDisks::release(Epoch epoch) {
  while (!ended_.empty() && ended_.front().epoch <= epoch) {
    for (std::size_t i = 0; i < disks_.size(); ++i)
      disks_[i].committed_bytes = ended_.front().sent_bytes[i];
    ended_.pop_front();
  }
}

double ServedDisks::fill() {
  std::uint64_t most = 0;
  for (Disk& disk : disks_) most = std::max(most, ask(disk).sent_bytes() - disk.committed_bytes);
  return static_cast<double>(most) / static_cast<double>(staging_bytes_max_);
}

void ServedDisks::finish() noexcept {
  const TimePoint deadline = std::chrono::steady_clock::now() + kFinishTimeout;
  for (Disk& disk : disks_) {
    try {
      const std::uint64_t mark = ask(disk).mark();
      while (ask(disk).held() < mark && std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(kFinishPoll);
    } catch (const Error&) {
      // It is marked in the bitmap, and sent again at the next protection.
    }
  }
}

}  // namespace specrep::disk
