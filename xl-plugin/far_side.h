#pragma once

#include <poll.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libspecrep/arbiter/settlement.h"
#include "libspecrep/wire/fd_channel.h"
#include "xl-plugin/process.h"

namespace specrep::xl {

// A signal asked this process to end while it waited.
struct Interrupted {
  int signal;
};

// specrep on the other host, reached through ssh: the control channel, and the ssh process that
// carries it. It is opened before anything is changed on either host, asks the questions of
// remus-spec-check, hands over the key of the data link, and then stays open as long as the
// protection lasts, so that the other host hears of it when the guest lives on here although the
// data link broke.
//
// Whatever goes wrong is thrown as one Error that names the host and the likely cause.
class FarSide {
 public:
  // ssh_command: what the operator gave with -s, a string for sh; nothing: ssh. An empty string
  // means that `host` itself is the command line to run, as with `xl remus`.
  FarSide(const std::string& host, const std::optional<std::string>& ssh_command,
          SignalFd& signals);
  // Closes the channel and gives the other side a moment to end by itself.
  ~FarSide();

  // The far side speaks first. Throws also when the versions do not fit.
  void greet();
  std::vector<wire::Finding> survey(const wire::SurveyRequest& request);
  wire::Listening protect(const wire::Protect& request);
  // Brings the copy of a disk up to date, without a guest: the port at which it waits for the
  // disk's server. Then, when that has sent all up to `mark`: waits until that is on stable storage
  // there.
  std::uint16_t follow(const wire::FollowDisk& request, std::vector<std::string>& addresses);
  void followed(std::uint64_t mark);

  // "h2 (specrep 0.1)" after greet().
  const std::string& peer() const { return peer_; }

  // While protected: what to poll, and what to do when poll() says that there is something.
  // Neither throws.
  std::vector<pollfd> poll_set() const;
  // No more than kMessagesMax at once, however fast they come: the others at the next call, which
  // poll() need not ask for.
  std::vector<wire::Message> take_messages();
  static constexpr std::size_t kMessagesMax = 1000;
  bool closed() const { return closed_; }
  // Whether the other host has said that the copy is discarded, for good.
  bool discarded() const { return outcome_ == wire::Outcome::DISCARDED; }
  // Lines that ssh or the far side wrote to stderr since the last call.
  std::vector<std::string> take_lines();

  // Tells the other host to discard its copy; does not wait.
  void stand_down(const std::string& reason);
  // What became of the copy over there.
  using Copy = PrimarySettlement::Copy;
  // Waits until the other host has said so, or its specrep has ended without having activated it.
  // kUnknown: it says nothing, or the way to it is cut.
  Copy wait_for_outcome(std::chrono::milliseconds timeout);

 private:
  wire::Message receive(std::chrono::milliseconds timeout);
  void send(wire::Message message);
  void read_stderr();
  void keep_line(std::string line);
  // Whether it was specrep over there that ended, and not the way to it, and left no copy.
  bool ended_without_copy();
  [[noreturn]] void fail(const std::string& garbage = {});

  std::string host_;
  bool own_command_;
  SignalFd& signals_;
  Pipe to_far_ = make_pipe();
  Pipe from_far_ = make_pipe();
  Pipe stderr_ = make_pipe();
  std::unique_ptr<Process> ssh_;
  wire::FdChannel channel_;
  LineReader lines_;
  std::deque<std::string> unread_lines_;
  std::string last_line_;
  std::string peer_;
  std::optional<wire::Outcome::Kind> outcome_;
  bool closed_ = false;       // nothing more comes
  bool told_to_end_ = false;  // nothing more is sent
};

}  // namespace specrep::xl
