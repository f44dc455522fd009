// specrep-diskd: keeps one replicated disk served: starts nbdkit with specrep's plugin, joins it to
// a device of the kernel's nbd driver, and starts it again when it dies. Started by block-specrep.
//
//   specrep-diskd PATH          prints the device, /dev/nbdN, and goes to the background; for a
//                               disk that is served already, only prints it
//   specrep-diskd --stop PATH   stops that, and returns when it has ended
//
// When this is killed, so is nbdkit, and the guest waits, at most for ten minutes, until this is
// started again and finds the device. So it runs as a unit of systemd's, which does that
// (specrep-disk-PATH.service). Where there is no systemd it has to be done by hand.
//
// It logs to /var/log/specrep/disk-ID.log.

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include "libspecrep/clock.h"
#include "libspecrep/disk/backing.h"
#include "libspecrep/disk/nbd_device.h"
#include "libspecrep/disk/record.h"
#include "libspecrep/error.h"
#include "tools/log.h"

namespace {

using namespace specrep;
using namespace std::chrono_literals;

constexpr const char* kLogFolder = "/var/log/specrep";
constexpr Duration kReadyTimeout = 10s, kStartTimeout = 20s, kStopTimeout = 20s, kPoll = 20ms;
// For the lock, which whoever asks for the device takes for an instant.
constexpr Duration kLockTimeout = 1s;
// Tells systemd not to start it again.
constexpr int kInVain = 3;
// A server that does not start is tried again, more and more seldom.
constexpr Duration kRestartPause = 200ms, kRestartPauseMax = 5s;
constexpr timespec kLook{1, 0}, kShortLook{0, 50'000'000};
// See NbdDevice::reconnect().
constexpr int kReconnects = 3;

TimePoint now() { return std::chrono::steady_clock::now(); }

// One per disk. Whoever serves it has the lock. The file says "PROCESS DEVICE\n"; "!REASON\n" when
// serving was given up; nothing before.
class Instance {
 public:
  explicit Instance(const std::string& path) {
    file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file_ < 0) throw Error(errno_text("cannot open " + path));
  }
  ~Instance() { close(file_); }
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  bool lock() { return flock(file_, LOCK_EX | LOCK_NB) == 0; }
  void write(const std::string& text) {
    if (ftruncate(file_, 0) || pwrite(file_, text.data(), text.size(), 0) < 0)
      throw Error(errno_text("cannot write the state of a disk's server"));
  }
  std::string read() const {
    char text[1024];
    const ssize_t got = pread(file_, text, sizeof text, 0);
    return {text, static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
  }

 private:
  int file_;
};

class Nbdkit {
 public:
  Nbdkit(const disk::Places& places, const std::string& path)
      : socket_(places.nbd_socket), path_(path) {}

  // Returns when it serves.
  void start() {
    unlink(socket_.c_str());
    const std::string plugin =
        std::filesystem::read_symlink("/proc/self/exe").replace_filename("specrep-disk-plugin.so");
    const std::string parameter = "path=" + path_;
    const pid_t parent = getpid();
    child_ = fork();
    if (child_ < 0) throw Error(errno_text("cannot fork"));
    if (child_ == 0) {
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      // Until the plugin says so again, see disk-plugin.cc.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(127);
      execlp("nbdkit", "nbdkit", "-f", "-t", "32", "-U", socket_.c_str(), plugin.c_str(),
             parameter.c_str(), nullptr);
      std::fprintf(stderr, "cannot start nbdkit: %s; apt-get install nbdkit\n",
                   std::strerror(errno));
      _exit(127);
    }
    for (const TimePoint deadline = now() + kReadyTimeout; access(socket_.c_str(), F_OK) != 0;) {
      if (reaped()) throw Error("the server of " + path_ + " does not start", "its log says why");
      if (now() > deadline) throw Error("the server of " + path_ + " is not ready in time");
      std::this_thread::sleep_for(kPoll);
    }
  }
  // Whether it has ended.
  bool reaped() {
    int status = 0;
    if (child_ <= 0 || waitpid(child_, &status, WNOHANG) != child_) return child_ <= 0;
    child_ = 0;
    spdlog::warn("the server of {} ended, status {}", path_, status);
    return true;
  }
  void stop() {
    if (child_ <= 0) return;
    kill(child_, SIGTERM);
    waitpid(child_, nullptr, 0);
    child_ = 0;
  }

 private:
  const std::string socket_, path_;
  pid_t child_ = 0;
};

// Whether to end.
bool wait(const sigset_t& signals, const timespec& time) {
  const int signal = sigtimedwait(&signals, nullptr, &time);
  return signal == SIGTERM || signal == SIGINT;
}

// Starts the server until it serves; false: is to end.
bool restart(Nbdkit& nbdkit, disk::NbdDevice& device, const sigset_t& signals) {
  for (Duration pause = kRestartPause;; pause = std::min(2 * pause, kRestartPauseMax)) {
    for (const TimePoint due = now() + pause; now() < due;)
      if (wait(signals, kShortLook)) return false;
    try {
      nbdkit.start();
      device.reconnect();
      spdlog::info("the server runs again");
      return true;
    } catch (const Error& error) {
      spdlog::error("{}", error.what());
      nbdkit.stop();
    }
  }
}

// Until SIGTERM.
void keep(Nbdkit& nbdkit, disk::NbdDevice& device, const sigset_t& signals) {
  int reconnects = kReconnects;  // also of a device that was found
  while (!wait(signals, kLook)) {
    if (nbdkit.reaped()) {
      if (!restart(nbdkit, device, signals)) return;
      reconnects = kReconnects;
    } else if (reconnects > 0) {
      --reconnects;
      try {
        device.reconnect();
      } catch (const Error& error) {
        spdlog::warn("{}", error.what());
      }
    }
  }
}

// Until SIGTERM. `instance` is locked.
void serve(const disk::Places& places, const std::string& path, Instance& instance) {
  instance.write("");  // of one that was killed
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  tools::be_there_when_memory_is_short();  // without this process nobody starts the server again
  // The server would refuse as well, but only its log would tell why.
  disk::check_own(places, disk::load_record(places));
  Nbdkit nbdkit(places, path);
  nbdkit.start();
  std::optional<disk::NbdDevice> device;
  try {
    device.emplace(path, places.nbd_socket, disk::sector_bytes(path));
    instance.write(std::to_string(getpid()) + " " + device->path() + "\n");
  } catch (...) {
    nbdkit.stop();
    throw;
  }
  spdlog::info("{} is served as {}", path, device->path());
  keep(nbdkit, *device, signals);
  // What is in dom0's page cache of the device; the guest's own writes do not go through it.
  // Without a server that would wait for ten minutes.
  const int file = nbdkit.reaped() ? -1 : open(device->path().c_str(), O_RDONLY | O_CLOEXEC);
  if (file >= 0) {
    fsync(file);
    close(file);
  }
  device->disconnect();
  nbdkit.stop();
  instance.write("");
  spdlog::info("{} is not served any more", path);
}

std::string log_path(const disk::Places& places) {
  return std::string(kLogFolder) + "/disk-" + places.id + ".log";
}

void log_to_file(const disk::Places& places) {
  std::error_code ignored;
  std::filesystem::create_directories(kLogFolder, ignored);
  const int log = open(log_path(places).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(null, STDIN_FILENO);
  dup2(log >= 0 ? log : null, STDOUT_FILENO);
  dup2(log >= 0 ? log : null, STDERR_FILENO);
}

// The process that stays; started by launch() or, when it was killed, by systemd.
int stay(const disk::Places& places, const std::string& path) {
  log_to_file(places);
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(places.nbd_socket).parent_path(),
                                      ignored);
  Instance instance(places.lock);
  for (const TimePoint deadline = now() + kLockTimeout; !instance.lock();) {
    if (now() > deadline) return 0;  // another one serves it
    std::this_thread::sleep_for(kPoll);
  }
  try {
    serve(places, path, instance);
    return 0;
  } catch (const Error& error) {
    spdlog::error("{}", error.what());
    // A guest that waits for its disk is worth trying again.
    if (disk::NbdDevice::find(path)) throw;
    instance.write("!" + std::string(error.what()) + (error.advice().empty() ? "" : "; ") +
                   error.advice() + "; see " + log_path(places) + "\n");
    return kInVain;
  }
}

// Runs a program, unheard, and waits for its end.
void run(std::vector<std::string> command) {
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO})
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  if (posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ) == 0)
    waitpid(child, nullptr, 0);
  posix_spawn_file_actions_destroy(&actions);
}

bool systemd_runs() { return access("/run/systemd/system", F_OK) == 0; }

// As systemd-escape does it.
std::string unit_of(const std::string& path) {
  std::string name = "specrep-disk";
  for (const char c : path) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
    name += c == '/' ? "-" : plain ? std::string(1, c) : escaped;
  }
  return name + ".service";
}

void launch(const std::string& path) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  if (systemd_runs()) {
    // Fails when the unit is there, as it was killed: systemd starts it again, then.
    run({"systemd-run", "--quiet", "--collect", "--unit=" + unit_of(path),
         "--description=specrep serves " + path, "--service-type=exec",
         "--property=Restart=on-failure", "--property=RestartSec=200ms",
         "--property=StartLimitIntervalSec=0",
         "--property=RestartPreventExitStatus=" + std::to_string(kInVain),
         // This ends before its server; and guests before this, when the host is shut down.
         "--property=KillMode=mixed", "--property=Before=xendomains.service", self, "--stay",
         path});
    return;
  }
  const pid_t child = fork();
  if (child < 0) throw Error(errno_text("cannot fork"));
  if (child > 0) return;
  setsid();
  execl(self.c_str(), self.c_str(), "--stay", path.c_str(), nullptr);
  _exit(127);
}

int start(const disk::Places& places, const std::string& path) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(places.lock).parent_path(), ignored);
  bool served = true;
  if (Instance instance(places.lock); instance.lock()) {
    served = false;
    instance.write("");  // of one that was killed, or in vain
  }
  if (!served) launch(path);
  const Instance instance(places.lock);
  for (const TimePoint deadline = now() + kStartTimeout; now() < deadline;) {
    const std::string state = instance.read();
    if (state.starts_with('!')) throw Error(state.substr(1, state.size() - 2));
    if (const auto space = state.find(' '); space != std::string::npos) {
      std::printf("%s", state.substr(space + 1).c_str());
      return 0;
    }
    std::this_thread::sleep_for(kPoll);
  }
  throw Error("the server of " + path + " is not ready in time", "see " + log_path(places));
}

int stop(const disk::Places& places, const std::string& path) {
  if (access(places.lock.c_str(), F_OK) != 0) return 0;  // never served since the host started
  Instance instance(places.lock);
  const TimePoint deadline = now() + kStopTimeout;
  bool told = false;
  while (!instance.lock()) {
    const std::string holder = instance.read();
    pid_t pid = 0;
    std::from_chars(holder.data(), holder.data() + holder.size(), pid);
    if (pid > 0 && !told) told = kill(pid, SIGTERM) == 0;
    if (now() > deadline) throw Error("specrep-diskd of " + path + " does not end");
    std::this_thread::sleep_for(kPoll);
  }
  // One that was killed is about to be started again.
  if (systemd_runs()) run({"systemctl", "stop", unit_of(path)});
  instance.write("");
  if (const auto left = disk::NbdDevice::find(path)) disk::NbdDevice::disconnect(*left);
  return 0;
}

// libxl runs hotplug scripts with the environment of whoever started the guest, be it a cron job.
void complete_path() {
  const char* old = std::getenv("PATH");
  setenv("PATH",
         (std::string(old ? old : "") +
          ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
             .c_str(),
         1);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Keeps a replicated disk served. Started by block-specrep.");
  std::string path;
  bool stopping = false, staying = false;
  app.add_option("PATH", path, "the disk, as the guest's configuration names it")->required();
  app.add_flag("--stop", stopping, "stop serving it");
  app.add_flag("--stay", staying, "serve it, in the foreground")->group("");
  CLI11_PARSE(app, argc, argv);
  tools::log_to_stderr();
  complete_path();
  try {
    const disk::Places places(path);
    if (stopping) return stop(places, path);
    return staying ? stay(places, path) : start(places, path);
  } catch (const Error& error) {
    spdlog::error("{}", error.what());
    if (!error.advice().empty()) spdlog::error("  {}", error.advice());
  } catch (const std::exception& error) {
    spdlog::error("internal error: {}", error.what());
  }
  return 1;
}
