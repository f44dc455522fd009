#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "libspecrep/error.h"
#include "libspecrep/output/network_buffer.h"

namespace specrep::output::netbuf_script {

namespace {

constexpr std::size_t kSaidBytesMax = 4096;

// Runs it for all interfaces at once, since starting a process takes longer than what it does.
void run(const std::string& script, std::vector<std::string> arguments,
         const std::vector<std::string>& interfaces) {
  if (interfaces.empty()) return;
  arguments.insert(arguments.begin(), script);
  arguments.insert(arguments.end(), interfaces.begin(), interfaces.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) throw Error(errno_text("cannot make a pipe"));
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, ends[1], 1);
  posix_spawn_file_actions_adddup2(&files, ends[1], 2);
  // A signal that this process blocks, to take it when it suits, must not be lost on the script.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  // Ctrl-C is for those who started us; half a buffer would stay.
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  pid_t child = -1;
  const int error = posix_spawn(&child, argv[0], &files, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  close(ends[1]);
  if (error) {
    close(ends[0]);
    throw Error(errno_text("cannot run " + script, error),
                "is specrep installed completely? `-N` names another script");
  }
  std::string said;
  char chunk[512];
  for (ssize_t got = 0; (got = read(ends[0], chunk, sizeof chunk)) != 0;) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    if (said.size() < kSaidBytesMax) said.append(chunk, static_cast<std::size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  while (!said.empty() && said.back() == '\n') said.pop_back();
  throw Error(script + " " + arguments[1] + ": " + (said.empty() ? "failed" : said),
              "`xl remus-spec-check` tells what is missing on this host");
}

}  // namespace

void set_up(const std::string& script, const std::vector<std::string>& interfaces,
            std::size_t limit_bytes) {
  try {
    run(script, {"setup", std::to_string(limit_bytes)}, interfaces);
  } catch (const Error&) {
    try {
      take_away(script, interfaces);
    } catch (const Error&) {  // the first error is the one to tell
    }
    throw;
  }
}

void take_away(const std::string& script, const std::vector<std::string>& interfaces) {
  run(script, {"teardown"}, interfaces);
}

void hold_input(const std::string& script, const std::vector<std::string>& interfaces) {
  run(script, {"hold"}, interfaces);
}

void give_input(const std::string& script, const std::vector<std::string>& interfaces) {
  run(script, {"give"}, interfaces);
}

void cut_off(const std::string& script, const std::vector<std::string>& interfaces) {
  run(script, {"cut"}, interfaces);
}

}  // namespace specrep::output::netbuf_script
