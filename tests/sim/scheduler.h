#pragma once

#include <functional>
#include <queue>
#include <vector>

#include "libspecrep/clock.h"

namespace specrep::sim {

// The true time, which nobody in the simulation sees, and what happens at which moment of it. At
// one moment things happen in the order in which they were asked for.
class Scheduler {
 public:
  TimePoint now() const { return now_; }
  void at(TimePoint time, std::function<void()> what) {
    queue_.push({time < now_ ? now_ : time, ++asked_, std::move(what)});
  }
  void after(Duration wait, std::function<void()> what) { at(now_ + wait, std::move(what)); }

  // Moves to the next moment at which something happens, and returns that.
  std::function<void()> next() {
    // The queue does not let its top be moved from; the order does not look at `what`.
    auto& top = const_cast<Item&>(queue_.top());
    now_ = top.time;
    auto what = std::move(top.what);
    queue_.pop();
    return what;
  }
  bool empty() const { return queue_.empty(); }

 private:
  struct Item {
    TimePoint time;
    std::uint64_t number;
    std::function<void()> what;
    bool operator<(const Item& other) const {
      return time != other.time ? time > other.time : number > other.number;
    }
  };
  TimePoint now_{std::chrono::hours(1)};
  std::uint64_t asked_ = 0;
  std::priority_queue<Item> queue_;
};

}  // namespace specrep::sim
