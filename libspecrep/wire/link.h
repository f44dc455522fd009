#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "libspecrep/clock.h"
#include "libspecrep/wire/message.h"

namespace specrep::wire {

// An ordered, reliable pipe of messages between primary and backup, as the core sees it.
// Heartbeats are the link's own business: it sends them on their deadline in front of queued
// messages and never hands them on.
class Link {
 public:
  virtual ~Link() = default;

  // Queues a message; never blocks. Messages to a link that has closed are dropped.
  virtual void send(Message message) = 0;

  // Bytes queued and not yet given to the kernel. Senders of bulk data keep it small, so that
  // what is queued is bounded by them.
  virtual std::size_t queued_bytes() const = 0;

  // When anything, heartbeats included, last came in.
  virtual TimePoint last_heard() const = 0;

  // What happens next: a message, the end of the link (`closed` says why), or, at `deadline`,
  // neither. Messages that came before the end are delivered before it.
  struct Event {
    std::optional<Message> message;
    std::optional<std::string> closed;
  };
  virtual Event wait(TimePoint deadline) = 0;

  // Makes a wait() in progress, or the next one, return at once with an empty event. From any
  // thread, not from a signal handler.
  virtual void wake() = 0;
};

// What may be queued to a primary that is answered. Far above what one leaves unread that listens:
// an answer has some 20 bytes.
inline constexpr std::size_t kAnswersBytesMax = 1 << 20;
// Sends what a primary gets for what it sends, again and again. Throws ProtocolError when it does
// not take it, since that must not fill this side's memory.
void answer(Link& link, Message message);

}  // namespace specrep::wire
