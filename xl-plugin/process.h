#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace specrep::xl {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

struct Pipe {
  Fd read_end;
  Fd write_end;
};
Pipe make_pipe();  // closed on exec; throws Error

// A child process. The destructor ends it (SIGTERM, then SIGKILL) and reaps it.
class Process {
 public:
  struct Options {
    // What become the child's descriptors 0, 1, 2 and 3; -1: 0 is /dev/null, the others are
    // inherited, and 3 is not open.
    int in = -1;
    int out = -1;
    int err = -1;
    int three = -1;
    // Ctrl-C and Ctrl-Z reach every process of the terminal's group. This one shall outlive the
    // first, and the other shall not make it look dead to the other host.
    bool ignores_interrupts = false;
  };

  // Throws Error when argv[0] cannot be run.
  Process(const std::vector<std::string>& argv, const Options& options);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void signal(int number);
  // Readable when the process has ended.
  int ended_fd() const { return pidfd_.get(); }
  // The status as of waitpid(), once the process has ended; nothing when `timeout` passes first.
  std::optional<int> wait(std::chrono::milliseconds timeout);

 private:
  pid_t pid_ = -1;
  Fd pidfd_;
  std::optional<int> status_;
};

// "exit status 3", "killed by signal 9 (Killed)".
std::string describe_status(int status);

// SIGINT, SIGTERM and SIGHUP as something to poll. They stay blocked for the life of the process:
// one that comes too late to be read must not undo an orderly end.
class SignalFd {
 public:
  SignalFd();
  int fd() const { return fd_.get(); }
  // The signal that came, 0 when none did.
  int take();

 private:
  Fd fd_;
};

// Assembles lines from what a non-blocking descriptor gives.
class LineReader {
 public:
  explicit LineReader(int fd);  // makes it non-blocking
  // Whole lines that are there now, of kReadBytesMax at most, so that it ends although the other
  // side writes as fast as this reads; at the end of input also a last one without newline.
  std::vector<std::string> read();
  static constexpr std::size_t kReadBytesMax = 256 * 1024;  // more than a pipe holds
  bool at_end() const { return at_end_; }
  int fd() const { return fd_; }

 private:
  int fd_;
  std::string partial_;
  bool at_end_ = false;
};

}  // namespace specrep::xl
