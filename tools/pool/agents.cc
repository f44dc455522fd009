#include "tools/pool/agents.h"

#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "tools/printable.h"

namespace specrep::tools {

namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr Duration kAskTimeout =
    15s;  // a host that is down is given up by specrep-connect after 10 s
constexpr std::size_t kAnswerBytesMax = 4 * pool::kConfigBytesMax;
constexpr const char* kStartAgent =
    "systemctl start specrep-agent; journalctl -u specrep-agent says why it ended";

TimePoint now() { return std::chrono::steady_clock::now(); }

// Waits until something can be read.
void wait_for(int fd, TimePoint deadline, const std::string& whom) {
  for (;;) {
    pollfd poll_fd{fd, POLLIN, 0};
    const auto left = milliseconds(deadline - now());
    const int got = left <= 0 ? 0 : poll(&poll_fd, 1, static_cast<int>(left));
    if (got > 0) return;
    if (got == 0) throw Error(whom + " does not answer");
    if (errno != EINTR) throw Error(errno_text(whom + " cannot be heard"));
  }
}

}  // namespace

Companion::Companion(const std::vector<std::string>& command) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    throw Error(errno_text("no socket to be had"));
  fd_ = pair[0];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pair[1], 0);
  posix_spawn_file_actions_adddup2(&actions, pair[1], 1);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const int error =
      posix_spawnp(&process_, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(pair[1]);
  if (error == 0) return;
  close(fd_);
  throw Error(errno_text("cannot run " + command[0], error), "is it installed?");
}

Companion::~Companion() {
  close(fd_);
  kill(process_, SIGTERM);
  waitpid(process_, nullptr, 0);
}

json exchange(int fd, const json& question, Duration timeout, const std::string& whom) {
  const TimePoint deadline = now() + timeout;
  const std::string line = question.dump() + "\n";
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t got = send(fd, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(errno_text(whom + " cannot be asked"));
    sent += static_cast<std::size_t>(got);
  }
  std::string answer;
  while (answer.empty() || answer.back() != '\n') {
    wait_for(fd, deadline, whom);
    char buffer[4096];
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || answer.size() > kAnswerBytesMax) throw Error(whom + " gave no answer");
    answer.append(buffer, static_cast<std::size_t>(got));
  }
  const json parsed = json::parse(answer, nullptr, false);
  if (!parsed.is_object()) throw Error(whom + " gave an answer that makes no sense");
  if (parsed.contains("error"))
    throw Error(whom + ": " + printable(parsed.value("error", "")),
                printable(parsed.value("advice", "")));
  return parsed;
}

json ask_here(const AgentPlaces& places, const json& question) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (places.socket.size() >= sizeof address.sun_path)
    throw Error(places.socket + " is too long for a socket's path");
  std::memcpy(address.sun_path, places.socket.c_str(), places.socket.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const std::string why = std::strerror(errno);
    if (fd >= 0) close(fd);
    throw AgentSilent(
        "the pool agent of this host does not run (" + places.socket + ": " + why + ")",
        kStartAgent);
  }
  try {
    const json answer = exchange(fd, question, kAskTimeout, "the agent of this host");
    close(fd);
    return answer;
  } catch (...) {
    close(fd);
    throw;
  }
}

json ask_host(const AgentPlaces& places, const pool::Host& host, const json& question) {
  const Companion connection({places.connect, host.management_address, "agent"});
  return exchange(connection.fd(), question, kAskTimeout, "the agent of " + host.name);
}

}  // namespace specrep::tools
