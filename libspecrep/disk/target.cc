#include "libspecrep/disk/target.h"

#include <string>

#include "libspecrep/error.h"

namespace specrep::disk {

namespace {

constexpr std::uint64_t kSyncBytes = 64 << 20;

}  // namespace

Target::Target(Backing& backing, std::size_t staging_bytes_max, std::function<void()> progress)
    : backing_(backing), staging_bytes_max_(staging_bytes_max), progress_(std::move(progress)) {
  applier_ = std::thread([this] { apply(); });
}

Target::~Target() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  applier_.join();
}

void Target::check() const {
  if (failure_) std::rethrow_exception(failure_);
}

void Target::receive(Write write) {
  if (write.number != held_ + 1)
    throw Error("the primary sent write " + std::to_string(write.number) + " of a disk after " +
                std::to_string(held_));
  const Extent& extent = write.extent;
  if (extent.length > backing_.size_bytes() ||
      extent.offset > backing_.size_bytes() - extent.length ||
      (!write.data.empty() && write.data.size() != extent.length))
    throw Error("the primary sent a write of a disk that does not fit into it");
  {
    std::unique_lock lock(mutex_);
    // The primary then waits in turn, and with it the guest.
    changed_.wait(lock, [&] { return failure_ || queued_bytes_ <= staging_bytes_max_; });
    check();
    if (keeps_aside_ && staged_bytes_ + memory_bytes(write) > staging_bytes_max_)
      throw Error("more than " + std::to_string(staging_bytes_max_ >> 20) +
                      " MiB of a disk's writes would wait here for the end of their epoch",
                  "give `xl remus-spec` shorter epochs (-i)");
    if (keeps_aside_) staged_bytes_ += memory_bytes(write);
  }
  ++held_;
  if (keeps_aside_)
    stage_.push_back(std::move(write));
  else
    push(std::move(write));
}

void Target::push(Write write) {
  {
    const std::lock_guard lock(mutex_);
    queued_ = write.number;
    queued_bytes_ += memory_bytes(write);
    queue_.push_back(std::move(write));
  }
  changed_.notify_all();
}

void Target::commit(std::uint64_t number) {
  if (number > held_)
    throw Error("an epoch ends with write " + std::to_string(number) + " of a disk, and only " +
                std::to_string(held_) + " have come");
  {
    const std::lock_guard lock(mutex_);
    check();
  }
  keep_aside();
  while (!stage_.empty() && stage_.front().number <= number) unstage();
}

void Target::unstage() {
  {
    const std::lock_guard lock(mutex_);
    staged_bytes_ -= memory_bytes(stage_.front());
  }
  push(std::move(stage_.front()));
  stage_.pop_front();
}

void Target::apply() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return over_ || !queue_.empty() || durable_ < applied_; });
    if (over_ || failure_) return;
    try {
      if (queue_.empty() || applied_bytes_ >= kSyncBytes) {
        // When all is applied, since a sync holds up what follows; under steady load, now and then.
        const std::uint64_t reached = applied_;
        applied_bytes_ = 0;
        lock.unlock();
        backing_.sync();
        lock.lock();
        durable_ = reached;
      } else {
        const Write write = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        if (write.data.empty())
          backing_.zero(write.extent);
        else
          backing_.write(write.extent.offset, write.data);
        lock.lock();
        applied_ = write.number;
        const bool was_full = queued_bytes_ > staging_bytes_max_;
        queued_bytes_ -= memory_bytes(write);
        if (was_full) changed_.notify_all();
        applied_bytes_ += write.extent.length;
        continue;
      }
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      failure_ = std::current_exception();
    }
    changed_.notify_all();
    lock.unlock();
    progress_();
    lock.lock();
    if (failure_) return;
  }
}

void Target::wait_until_applied() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || durable_ >= queued_; });
  check();
}

std::uint64_t Target::activate() {
  const std::uint64_t dropped = stage_.size();
  {
    const std::lock_guard lock(mutex_);
    staged_bytes_ = 0;
  }
  stage_.clear();
  wait_until_applied();
  return dropped;
}

void Target::settle() {
  while (!stage_.empty()) unstage();
  wait_until_applied();
}

std::uint64_t Target::durable() const {
  const std::lock_guard lock(mutex_);
  return durable_;
}

std::size_t Target::staged_bytes() const {
  const std::lock_guard lock(mutex_);
  return staged_bytes_ + queued_bytes_;
}

}  // namespace specrep::disk
