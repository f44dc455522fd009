#pragma once

#include <optional>

#include "libspecrep/clock.h"
#include "libspecrep/wire/message.h"

namespace specrep::wire {

// The control channel: messages over a pair of descriptors (the pipes to ssh, or stdin and
// stdout of the process that ssh started). Small messages, no threads. Does not own the
// descriptors.
class FdChannel {
 public:
  FdChannel(int in_fd, int out_fd) : in_fd_(in_fd), out_fd_(out_fd) {}

  // Blocks until the message is written. Throws Error when the other side is gone (SIGPIPE
  // must be ignored by the process).
  void send(Message message);

  // The next message; nothing when `timeout` passes first. Throws Error at the end of input
  // ("closed"), ProtocolError when what came in is no message: its text then quotes the first
  // bytes, printable, since the likely cause is a shell's banner or an ssh error.
  std::optional<Message> receive(Duration timeout);

  bool closed() const { return closed_; }
  int in_fd() const { return in_fd_; }

 private:
  int in_fd_;
  int out_fd_;
  bool closed_ = false;
  Decoder decoder_;
  std::vector<Message> ready_;
  std::string unparsed_;  // the first bytes that came since the last message; for errors
};

}  // namespace specrep::wire
