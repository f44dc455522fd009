#include "xl-plugin/far_side.h"

#include <sys/wait.h>

#include <algorithm>

#include "libspecrep/error.h"
#include "xl-plugin/far_failure.h"

namespace specrep::xl {

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// From the start of ssh to the far side's Hello. ssh itself gives up earlier on a host that is not
// there (ConnectTimeout below); the rest is for typing a password.
constexpr milliseconds kGreetingMax{30'000};
constexpr milliseconds kAnswerMax{30'000};
constexpr milliseconds kSyncMax{600'000};  // of what the other host's storage has not written yet
// Between the end of the channel and that of ssh, whose exit status tells why.
constexpr milliseconds kExitMax{3000};
// Of stderr and of notices, kept until somebody shows them; of notices before an answer, too.
constexpr std::size_t kLinesMax = 200;

// A network that falls silent is noticed after 15 s; by the data link much earlier.
constexpr const char* kDefaultSsh =
    "ssh -T -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3";

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string command_line(const std::string& host, const std::optional<std::string>& ssh_command) {
  if (!ssh_command)
    return std::string("exec ") + kDefaultSsh + " -- " + quoted(host) + " xl remus-spec-receive";
  if (ssh_command->empty()) return host;
  return "exec " + *ssh_command + " " + host + " xl remus-spec-receive";
}

}  // namespace

FarSide::FarSide(const std::string& host, const std::optional<std::string>& ssh_command,
                 SignalFd& signals)
    : host_(host),
      own_command_(ssh_command.has_value()),
      signals_(signals),
      channel_(from_far_.read_end.get(), to_far_.write_end.get()),
      lines_(stderr_.read_end.get()) {
  Process::Options options;
  options.in = to_far_.read_end.get();
  options.out = from_far_.write_end.get();
  options.err = stderr_.write_end.get();
  options.ignores_interrupts = true;
  ssh_ = std::make_unique<Process>(
      std::vector<std::string>{"/bin/sh", "-c", command_line(host, ssh_command)}, options);
  to_far_.read_end.reset();
  from_far_.write_end.reset();
  stderr_.write_end.reset();
}

FarSide::~FarSide() {
  to_far_.write_end.reset();
  if (!closed_) ssh_->wait(kExitMax);
}

void FarSide::greet() {
  const wire::Message hello = receive(kGreetingMax);
  peer_ = wire::negotiate(hello).peer;
  send(wire::hello());
}

std::vector<wire::Finding> FarSide::survey(const wire::SurveyRequest& request) {
  wire::Message question;
  *question.envelope.mutable_survey_request() = request;
  send(std::move(question));
  const wire::Message answer = receive(kAnswerMax);
  if (!answer.envelope.has_survey_reply())
    throw Error(host_ + " did not answer whether it could take the guest");
  const auto& findings = answer.envelope.survey_reply().findings();
  return {findings.begin(), findings.end()};
}

wire::Listening FarSide::protect(const wire::Protect& request) {
  wire::Message message;
  *message.envelope.mutable_protect() = request;
  send(std::move(message));
  const wire::Message answer = receive(kAnswerMax);
  if (!answer.envelope.has_listening() || answer.envelope.listening().port() == 0 ||
      answer.envelope.listening().port() > 65535)
    throw Error(host_ + " did not say where it waits for the guest");
  return answer.envelope.listening();
}

std::uint16_t FarSide::follow(const wire::FollowDisk& request,
                              std::vector<std::string>& addresses) {
  wire::Message message;
  *message.envelope.mutable_follow_disk() = request;
  send(std::move(message));
  const wire::Message answer = receive(kAnswerMax);
  const wire::Listening& listening = answer.envelope.listening();
  if (!answer.envelope.has_listening() || listening.disk_ports_size() != 1 ||
      listening.disk_ports(0) == 0 || listening.disk_ports(0) > 65535)
    throw Error(host_ + " did not say where it waits for the disk");
  addresses.assign(listening.addresses().begin(), listening.addresses().end());
  return static_cast<std::uint16_t>(listening.disk_ports(0));
}

void FarSide::followed(std::uint64_t mark) {
  wire::Message message;
  message.envelope.mutable_disk_followed()->set_mark(mark);
  send(std::move(message));
  if (!receive(kSyncMax).envelope.has_disk_followed())
    throw Error(host_ + " did not say that it has all of the disk");
}

std::vector<pollfd> FarSide::poll_set() const {
  std::vector<pollfd> set;
  if (!closed_) set.push_back({channel_.in_fd(), POLLIN, 0});
  if (!lines_.at_end()) set.push_back({lines_.fd(), POLLIN, 0});
  return set;
}

std::vector<wire::Message> FarSide::take_messages() {
  std::vector<wire::Message> messages;
  try {
    while (!closed_ && messages.size() < kMessagesMax) {
      auto message = channel_.receive(Duration::zero());
      if (!message) break;
      if (message->envelope.has_outcome()) outcome_ = message->envelope.outcome().kind();
      messages.push_back(std::move(*message));
    }
  } catch (const Error&) {
    closed_ = true;
  }
  return messages;
}

std::vector<std::string> FarSide::take_lines() {
  read_stderr();
  std::vector<std::string> lines(unread_lines_.begin(), unread_lines_.end());
  unread_lines_.clear();
  return lines;
}

void FarSide::stand_down(const std::string& reason) {
  if (closed_ || told_to_end_) return;
  told_to_end_ = true;
  wire::Message message;
  message.envelope.mutable_stand_down()->set_reason(reason);
  try {
    channel_.send(std::move(message));
  } catch (const Error&) {
    closed_ = true;
  }
  to_far_.write_end.reset();
}

FarSide::Copy FarSide::wait_for_outcome(milliseconds timeout) {
  const auto until = Clock::now() + timeout;
  while (!outcome_ && !closed_ && Clock::now() < until) {
    pollfd channel{channel_.in_fd(), POLLIN, 0};
    poll(&channel, 1, 100);
    take_messages();
  }
  if (outcome_ == wire::Outcome::ACTIVATED) return Copy::kActivated;
  if (outcome_ == wire::Outcome::DISCARDED) return Copy::kDiscarded;
  return closed_ && ended_without_copy() ? Copy::kDiscarded : Copy::kUnknown;
}

bool FarSide::ended_without_copy() {
  const auto status = ssh_->wait(kExitMax);
  return status && WIFEXITED(*status) &&
         (WEXITSTATUS(*status) == 0 || WEXITSTATUS(*status) == kEndedWithoutCopy);
}

wire::Message FarSide::receive(milliseconds timeout) {
  const auto until = Clock::now() + timeout;
  for (std::size_t notices = 0;;) {
    try {
      if (auto message = channel_.receive(Duration::zero())) {
        if (message->envelope.has_failure())
          throw wire::to_error(message->envelope.failure(), peer_.empty() ? host_ : peer_);
        if (message->envelope.has_notice()) {
          if (++notices > kLinesMax)
            throw Error(host_ + " tells this and that and does not answer",
                        "its log is in /var/log/specrep on " + host_);
          keep_line(message->envelope.notice().text());
          continue;
        }
        return std::move(*message);
      }
    } catch (const wire::ProtocolError& error) {
      closed_ = true;
      fail(error.what());
    } catch (const Error&) {
      if (!channel_.closed()) throw;
      closed_ = true;
      fail();
    }
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
    if (left <= 0) fail();
    std::vector<pollfd> set = poll_set();
    set.push_back({signals_.fd(), POLLIN, 0});
    poll(set.data(), set.size(), static_cast<int>(left));
    read_stderr();
    if (const int signal = signals_.take()) throw Interrupted{signal};
  }
}

void FarSide::send(wire::Message message) {
  try {
    channel_.send(std::move(message));
  } catch (const Error&) {
    closed_ = true;
    fail();
  }
}

void FarSide::read_stderr() {
  for (std::string& line : lines_.read()) {
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    last_line_ = line;
    keep_line(std::move(line));
  }
}

void FarSide::keep_line(std::string line) {
  unread_lines_.push_back(std::move(line));
  if (unread_lines_.size() > kLinesMax) unread_lines_.pop_front();
}

void FarSide::fail(const std::string& garbage) {
  FarFailure failure;
  failure.host = host_;
  failure.own_command = own_command_;
  failure.garbage = garbage;
  failure.greeted = !peer_.empty();
  if (closed_) failure.status = ssh_->wait(kExitMax);
  read_stderr();
  failure.last_line = last_line_;
  throw explain(failure);
}

}  // namespace specrep::xl
