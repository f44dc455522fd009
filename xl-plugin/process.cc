#include "xl-plugin/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "libspecrep/error.h"

namespace specrep::xl {

namespace {

using std::chrono::milliseconds;

// Time for a child to end in order before it is killed.
constexpr milliseconds kPatience{3000};

// A line longer than this is cut: nobody reads on, and memory is bounded.
constexpr std::size_t kLineBytesMax = 64 * 1024;

// After fork() only what is async-signal-safe may be called. Never returns.
[[noreturn]] void become(char* const* argv, const Process::Options& options, int error_fd) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  if (options.ignores_interrupts)
    for (const int number : {SIGINT, SIGQUIT, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU})
      signal(number, SIG_IGN);

  // Pipes are closed on exec and above 3 (see make_pipe), dup2's copies are not. A descriptor that
  // is in its place already stays as it is.
  const int in = options.in >= 0 ? options.in : open("/dev/null", O_RDONLY | O_CLOEXEC);
  const bool ready = dup2(in, 0) >= 0 && (options.out < 0 || dup2(options.out, 1) >= 0) &&
                     (options.err < 0 || dup2(options.err, 2) >= 0) &&
                     (options.three < 0 || dup2(options.three, 3) >= 0);
  if (ready) execvp(argv[0], argv);
  const int error = errno;
  if (write(error_fd, &error, sizeof error) < 0) {
  }
  _exit(127);
}

}  // namespace

void Fd::reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Pipe make_pipe() {
  // Above 3, so that moving one end to its place in a child never overwrites another.
  const auto raise = [](int fd) {
    Fd low(fd);
    const int high = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    if (high < 0) throw Error(errno_text("making a pipe"));
    return Fd(high);
  };
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Error(errno_text("making a pipe"));
  Fd read_end = raise(ends[0]);
  return {std::move(read_end), raise(ends[1])};
}

Process::Process(const std::vector<std::string>& argv, const Options& options) {
  std::vector<char*> pointers;
  for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  Pipe failure = make_pipe();

  pid_ = fork();
  if (pid_ < 0) throw Error(errno_text("starting " + argv[0]));
  if (pid_ == 0) become(pointers.data(), options, failure.write_end.get());

  failure.write_end.reset();
  int error = 0;
  if (read(failure.read_end.get(), &error, sizeof error) == sizeof error) {
    waitpid(pid_, nullptr, 0);
    throw Error(errno_text("cannot run " + argv[0], error),
                "is specrep installed completely? (make install)");
  }
  pidfd_ = Fd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
}

Process::~Process() {
  if (wait(milliseconds(0))) return;
  signal(SIGTERM);
  if (wait(kPatience)) return;
  signal(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Process::signal(int number) {
  if (!status_) kill(pid_, number);
}

std::optional<int> Process::wait(milliseconds timeout) {
  if (status_) return status_;
  pollfd ended{pidfd_.get(), POLLIN, 0};
  const auto until = std::chrono::steady_clock::now() + timeout;
  int status = 0;
  for (;;) {
    if (waitpid(pid_, &status, WNOHANG) == pid_) return status_ = status;
    const auto left =
        std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now()).count();
    if (left <= 0) return std::nullopt;
    poll(&ended, 1, static_cast<int>(left));
  }
}

std::string describe_status(int status) {
  if (WIFSIGNALED(status))
    return "killed by signal " + std::to_string(WTERMSIG(status)) + " (" +
           strsignal(WTERMSIG(status)) + ")";
  return "exit status " + std::to_string(WEXITSTATUS(status));
}

SignalFd::SignalFd() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, number);
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) throw Error(errno_text("blocking signals"));
  fd_ = Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_) throw Error(errno_text("waiting for signals"));
}

int SignalFd::take() {
  signalfd_siginfo info{};
  return read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

LineReader::LineReader(int fd) : fd_(fd) { fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK); }

std::vector<std::string> LineReader::read() {
  std::vector<std::string> lines;
  char bytes[4096];
  std::size_t left = kReadBytesMax;
  while (!at_end_ && left > 0) {
    const ssize_t got = ::read(fd_, bytes, std::min(sizeof bytes, left));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got <= 0) {
      at_end_ = true;
      if (!partial_.empty()) lines.push_back(std::exchange(partial_, {}));
      break;
    }
    left -= static_cast<std::size_t>(got);
    for (ssize_t i = 0; i < got; ++i) {
      if (bytes[i] == '\n')
        lines.push_back(std::exchange(partial_, {}));
      else if (bytes[i] != '\r' && partial_.size() < kLineBytesMax)
        partial_ += bytes[i];
    }
  }
  return lines;
}

}  // namespace specrep::xl
