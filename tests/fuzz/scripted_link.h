#pragma once

#include <deque>
#include <utility>
#include <vector>

#include "libspecrep/wire/link.h"

namespace specrep::fuzz {

// A link whose other end has said all that it ever will: messages come in the order in which they
// were put, then the link is closed. What is sent is forgotten.
class ScriptedLink final : public wire::Link {
 public:
  explicit ScriptedLink(const Clock& clock) : clock_(clock) {}

  void put(wire::Message message) {
    message.envelope.set_payload_bytes(static_cast<std::uint32_t>(message.payload.size()));
    inbox_.push_back(std::move(message));
  }
  bool empty() const { return inbox_.empty(); }

  void send(wire::Message message) override { wire::encode_head(message); }
  std::size_t queued_bytes() const override { return 0; }
  TimePoint last_heard() const override { return clock_.now(); }
  Event wait(TimePoint) override {
    Event event;
    if (inbox_.empty()) {
      event.closed = "the other end has gone";
    } else {
      event.message = std::move(inbox_.front());
      inbox_.pop_front();
    }
    return event;
  }
  void wake() override {}

 private:
  const Clock& clock_;
  std::deque<wire::Message> inbox_;
};

}  // namespace specrep::fuzz
