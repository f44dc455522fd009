#include "tools/agent/question_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "libspecrep/error.h"
#include "libspecrep/pool/config.h"

namespace specrep::tools {

namespace {

constexpr std::size_t kAskersMax = 64;
constexpr std::size_t kLineBytesMax = 4 * pool::kConfigBytesMax;

nlohmann::json error_of(const Error& error) {
  return {{"error", error.what()}, {"advice", error.advice()}};
}

}  // namespace

QuestionSocket::QuestionSocket(std::string path, Answer answer)
    : path_(std::move(path)), answer_(std::move(answer)) {
  std::error_code ignored;
  const std::string folder = std::filesystem::path(path_).parent_path();
  std::filesystem::create_directories(folder, ignored);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path_.size() >= sizeof name.sun_path) throw Error(path_ + " is too long for a socket");
  std::memcpy(name.sun_path, path_.c_str(), path_.size());
  unlink(path_.c_str());  // of one that has ended; systemd runs one alone
  listening_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const mode_t before = umask(0177);
  const bool bound =
      listening_ >= 0 && bind(listening_, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
  umask(before);
  if (!bound || listen(listening_, SOMAXCONN) != 0)
    throw Error(errno_text("cannot listen at " + path_), "run this as root");
}

QuestionSocket::~QuestionSocket() {
  for (const Asker& asker : askers_) close(asker.socket);
  close(listening_);
  unlink(path_.c_str());
}

void QuestionSocket::serve(Duration time, const sigset_t& unblocked) {
  std::vector<pollfd> set;
  for (const Asker& asker : askers_)
    set.push_back({asker.socket, static_cast<short>(asker.to_send.empty() ? POLLIN : POLLOUT), 0});
  set.push_back({listening_, POLLIN, 0});
  const timespec timeout{static_cast<time_t>(time.count() / 1'000'000'000),
                         static_cast<long>(time.count() % 1'000'000'000)};
  if (ppoll(set.data(), set.size(), &timeout, &unblocked) <= 0) return;
  std::size_t i = 0;
  for (Asker& asker : askers_)
    if (set[i++].revents != 0) read_from(asker);
  std::erase_if(askers_, [](const Asker& asker) { return asker.socket < 0; });
  if (set[i].revents == 0) return;
  const int accepted = accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (accepted < 0) return;
  if (askers_.size() >= kAskersMax)
    close(accepted);
  else
    askers_.push_back({accepted, {}, {}});
}

// And writes what is left to be sent, before it reads on. One answer at a time is made: who asks
// and does not listen has no more of our memory than that takes.
void QuestionSocket::read_from(Asker& asker) {
  const auto hang_up = [&asker] { close(std::exchange(asker.socket, -1)); };
  if (asker.to_send.empty()) {
    char bytes[16 * 1024];
    const ssize_t got = read(asker.socket, bytes, sizeof bytes);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return hang_up();
    asker.received.append(bytes, static_cast<std::size_t>(got));
    if (asker.received.size() > kLineBytesMax) return hang_up();
  }
  for (;;) {
    if (asker.to_send.empty()) {
      const auto end = asker.received.find('\n');
      if (end == std::string::npos) return;
      answer_line(asker, asker.received.substr(0, end));
      asker.received.erase(0, end + 1);
    }
    const ssize_t sent =
        send(asker.socket, asker.to_send.data(), asker.to_send.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (sent < 0) return hang_up();
    asker.to_send.erase(0, static_cast<std::size_t>(sent));
  }
}

void QuestionSocket::answer_line(Asker& asker, const std::string& line) {
  nlohmann::json answer;
  try {
    const nlohmann::json question = nlohmann::json::parse(line, nullptr, false);
    if (!question.is_object()) throw Error("a question is a JSON object in one line");
    answer = answer_(question);
  } catch (const Error& error) {
    answer = error_of(error);
  } catch (const std::exception& error) {
    answer = error_of(Error(error.what()));
  }
  asker.to_send += answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace specrep::tools
