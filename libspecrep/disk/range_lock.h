#pragma once

#include <condition_variable>
#include <list>
#include <mutex>

#include "libspecrep/disk/extent.h"

namespace specrep::disk {

// Lets requests for different parts of a disk go side by side, and those that overlap one after the
// other, in the order in which they came: so both copies of the disk see them in the same order.
// Thread-safe.
class RangeLock {
 public:
  // For as long as it lives, nobody else holds a part of its extent.
  class Held {
   public:
    Held(RangeLock& lock, const Extent& extent);  // waits
    ~Held();
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

   private:
    RangeLock& lock_;
    std::list<Extent>::iterator place_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Extent> queue_;  // those that hold, and those that wait for them, oldest first
};

}  // namespace specrep::disk
