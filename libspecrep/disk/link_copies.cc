#include "libspecrep/disk/link_copies.h"

#include "libspecrep/error.h"
#include "libspecrep/wire/message.h"

namespace specrep::disk {

struct LinkCopies::Copy {
  std::string path;
  std::unique_ptr<wire::TlsListener> listener;
  std::thread thread;

  std::mutex mutex;  // of what follows
  bool over = false;
  std::unique_ptr<wire::TlsLink> link;
  std::unique_ptr<TargetEnd> end;   // once the link is there
  std::optional<std::string> lost;  // why nothing more comes

  // Calls `changed` unless the owner has gone.
  void tell(const std::function<void()>& changed) {
    const std::lock_guard lock(mutex);
    if (!over) changed();
  }
};

LinkCopies::LinkCopies(const std::vector<Disk>& disks, std::size_t staging_bytes_max, bool durable,
                       Duration heartbeat_interval, Duration connect_timeout,
                       const std::function<void()>& changed) {
  for (const Disk& disk : disks) {
    auto copy = std::make_shared<Copy>();
    copy->path = disk.path;
    copy->listener = std::make_unique<wire::TlsListener>(disk.key);
    copies_.push_back(copy);
  }
  for (const auto& copy : copies_) {
    // Not of this object, which may go while the thread still waits for somebody to connect.
    copy->thread = std::thread([=] {
      std::string lost = "the link of the disk " + copy->path + " closed";
      try {
        auto accepted = copy->listener->accept(heartbeat_interval, connect_timeout);
        wire::TlsLink& link = *accepted;
        {
          const std::lock_guard lock(copy->mutex);
          if (copy->over) return;
          copy->link = std::move(accepted);
        }
        std::unique_ptr<TargetEnd> end;
        try {
          end =
              std::make_unique<TargetEnd>(copy->path, link, staging_bytes_max, durable,
                                          [owner = copy.get(), changed] { owner->tell(changed); });
        } catch (const Error& error) {
          link.send(wire::failure(error));
          throw;
        }
        TargetEnd* const serving = end.get();
        {
          const std::lock_guard lock(copy->mutex);
          if (copy->over) return;
          copy->end = std::move(end);
        }
        serving->run();
      } catch (const Error& error) {
        lost = with_advice(error);
      }
      {
        const std::lock_guard lock(copy->mutex);
        copy->lost = lost;
      }
      copy->tell(changed);
    });
  }
}

LinkCopies::~LinkCopies() {
  for (const auto& copy : copies_) {
    bool connected = false;
    {
      const std::lock_guard lock(copy->mutex);
      copy->over = true;
      connected = copy->link != nullptr;
      if (connected && copy->end) copy->end->stop();
    }
    if (connected)
      copy->thread.join();
    else
      copy->thread.detach();
  }
}

std::vector<std::uint16_t> LinkCopies::ports() const {
  std::vector<std::uint16_t> ports;
  for (const auto& copy : copies_) ports.push_back(copy->listener->port());
  return ports;
}

bool LinkCopies::hold(const std::vector<std::uint64_t>& marks) const {
  bool all = true;
  for (std::size_t i = 0; i < copies_.size(); ++i) {
    TargetEnd* end = nullptr;
    std::optional<std::string> lost;
    {
      const std::lock_guard lock(copies_[i]->mutex);
      end = copies_[i]->end.get();
      lost = copies_[i]->lost;
    }
    if (end) {
      if (const auto failure = end->failure())
        throw Error("the copy of the disk " + copies_[i]->path + ": " + *failure);
      if (end->held() >= marks.at(i)) continue;
    }
    if (lost) throw Error(*lost);
    all = false;
  }
  return all;
}

void LinkCopies::commit(const std::vector<std::uint64_t>& marks) {
  for (std::size_t i = 0; i < copies_.size(); ++i) end_of(*copies_[i]).commit(marks.at(i));
}

TargetEnd& LinkCopies::end_of(Copy& copy) {
  const std::lock_guard lock(copy.mutex);
  if (!copy.end) throw Error("the primary never connected the disk " + copy.path);
  return *copy.end;
}

std::uint64_t LinkCopies::activate() {
  std::uint64_t dropped = 0;
  for (const auto& copy : copies_) dropped += end_of(*copy).activate();
  return dropped;
}

void LinkCopies::settle() {
  for (const auto& copy : copies_) {
    TargetEnd* end = nullptr;
    {
      const std::lock_guard lock(copy->mutex);
      end = copy->end.get();
    }
    if (end) end->settle();
  }
}

}  // namespace specrep::disk
