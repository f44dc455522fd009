#include "tools/agent/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>

#include "libspecrep/error.h"

namespace specrep::tools {

namespace {

constexpr std::size_t kPrintedBytesMax = 4096;  // the last ones
constexpr std::size_t kWordsBytesMax = 400;
constexpr std::size_t kLinesMax = 3;

}  // namespace

Child::Child(const std::vector<std::string>& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Error(errno_text("making a pipe"));
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO})
    posix_spawn_file_actions_adddup2(&actions, ends[1], fd);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int number : {SIGPIPE, SIGTERM, SIGINT}) sigaddset(&defaults, number);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  // What systemd gave to this process is not for its children: systemd-run would tell it that it is
  // ready.
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (std::strncmp(*variable, "NOTIFY_SOCKET=", 14) != 0) environment.push_back(*variable);
  environment.push_back(nullptr);
  const int error = posix_spawnp(&process_, arguments[0], &actions, &attributes, arguments.data(),
                                 environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(ends[1]);
  output_ = ends[0];
  if (error == 0) return;
  close(output_);
  throw Error(errno_text("cannot run " + command[0], error));
}

Child::~Child() { close(output_); }

std::optional<int> Child::ended() {
  read_output();
  int status = 0;
  if (waitpid(process_, &status, WNOHANG) != process_) return std::nullopt;
  read_output();
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

void Child::read_output() {
  char bytes[4096];
  for (ssize_t got = 0; (got = read(output_, bytes, sizeof bytes)) > 0;) {
    printed_.append(bytes, static_cast<std::size_t>(got));
    if (printed_.size() > kPrintedBytesMax) printed_.erase(0, printed_.size() - kPrintedBytesMax);
  }
}

std::string Child::said() const { return last_words(printed_); }

std::string last_words(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin != std::string::npos) lines.push_back(line.substr(begin));
  }
  std::string words;
  for (std::size_t i = lines.size() > kLinesMax ? lines.size() - kLinesMax : 0; i < lines.size();
       ++i)
    words += (words.empty() ? "" : "; ") + lines[i];
  return words.size() <= kWordsBytesMax ? words : words.substr(0, kWordsBytesMax) + "...";
}

}  // namespace specrep::tools
