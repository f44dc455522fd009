#include "libspecrep/disk/range_lock.h"

#include <algorithm>

namespace specrep::disk {

RangeLock::Held::Held(RangeLock& lock, const Extent& extent) : lock_(lock) {
  std::unique_lock guard(lock_.mutex_);
  place_ = lock_.queue_.insert(lock_.queue_.end(), extent);
  lock_.changed_.wait(guard, [&] {
    return std::none_of(lock_.queue_.begin(), place_,
                        [&](const Extent& earlier) { return earlier.overlaps(*place_); });
  });
}

RangeLock::Held::~Held() {
  {
    const std::lock_guard guard(lock_.mutex_);
    lock_.queue_.erase(place_);
  }
  lock_.changed_.notify_all();
}

}  // namespace specrep::disk
