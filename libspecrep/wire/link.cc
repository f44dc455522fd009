#include "libspecrep/wire/link.h"

#include <utility>

namespace specrep::wire {

void answer(Link& link, Message message) {
  if (link.queued_bytes() > kAnswersBytesMax)
    throw ProtocolError("the primary does not take the answers to what it sends");
  link.send(std::move(message));
}

}  // namespace specrep::wire
