#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "libspecrep/wire/link.h"

namespace specrep::wire {

// A link to nowhere, for `-b`: drops pages, commits every epoch at once. What is left of a
// checkpoint's cost is the primary's own. Protects nothing.
class BlackholeLink final : public Link {
 public:
  explicit BlackholeLink(const Clock& clock) : clock_(clock) {}

  void send(Message message) override {
    Message answer;
    if (message.envelope.has_checkpoint())
      answer.envelope.mutable_commit()->set_epoch(message.envelope.checkpoint().epoch());
    else if (message.envelope.has_stop())
      answer.envelope.mutable_stopped();
    else
      return;
    answers_.push_back(std::move(answer));
  }

  std::size_t queued_bytes() const override { return 0; }
  TimePoint last_heard() const override { return clock_.now(); }

  Event wait(TimePoint deadline) override {
    if (!answers_.empty()) {
      Event event;
      event.message = std::move(answers_.front());
      answers_.pop_front();
      return event;
    }
    std::unique_lock lock(mutex_);
    woken_.wait_for(lock, deadline - clock_.now(), [this] { return wake_; });
    wake_ = false;
    return {};
  }

  void wake() override {
    const std::lock_guard lock(mutex_);
    wake_ = true;
    woken_.notify_one();
  }

 private:
  const Clock& clock_;
  std::deque<Message> answers_;  // the caller's thread only
  std::mutex mutex_;
  std::condition_variable woken_;
  bool wake_ = false;
};

}  // namespace specrep::wire
