#include "libspecrep/xen/qmp.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "libspecrep/error.h"

namespace specrep::xen {

namespace {
// libxl gives QEMU 10 s for a command, too.
constexpr std::chrono::seconds kReplyTimeout{10};
// A reply is a few hundred bytes; QEMU is trusted, a runaway is not kept for ever.
constexpr std::size_t kReplyBytesMax = 1024 * 1024;
}  // namespace

Qmp::Qmp(std::uint32_t domid, const std::string& folder)
    : domid_(domid), fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = folder + "/qmp-libxl-" + std::to_string(domid);
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (fd_ < 0 || connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address)) {
    const std::string why = std::strerror(errno);
    if (fd_ >= 0) close(fd_);
    throw Error("cannot reach " + who() + " at " + path + ": " + why);
  }
  try {
    // The greeting of a server, and the answer to leaving negotiation mode.
    read_reply("greet us");
    execute("qmp_capabilities");
  } catch (...) {
    close(fd_);
    throw;
  }
}

Qmp::~Qmp() { close(fd_); }

std::string Qmp::who() const { return "the device model of domain " + std::to_string(domid_); }

nlohmann::json Qmp::execute(const std::string& command, const nlohmann::json& arguments) {
  nlohmann::json request = {{"execute", command}};
  if (!arguments.empty()) request["arguments"] = arguments;
  const std::string text = request.dump() + "\n";
  if (send(fd_, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    throw Error(errno_text(who() + " does not take " + command));
  nlohmann::json reply = read_reply(command);
  try {
    if (reply.contains("error"))
      throw Error(who() + " refused " + command + ": " +
                  reply.at("error").value("desc", "no reason given"));
    return std::move(reply.at("return"));
  } catch (const nlohmann::json::exception&) {
    throw Error(who() + " answered " + command + " with what is no reply");
  }
}

void drop_dirty_log(Qmp& device_model) {
  // QEMU (7.2's memory_global_dirty_log_do_stop()) aborts when it is to drop a log that it does not
  // keep, and cannot be asked; to begin one that it keeps already does nothing.
  for (const bool enable : {true, false})
    device_model.execute("xen-set-global-dirty-log", {{"enable", enable}});
}

// The next message that is not an event.
nlohmann::json Qmp::read_reply(const std::string& doing) {
  const auto until = std::chrono::steady_clock::now() + kReplyTimeout;
  for (;;) {
    const auto end = buffer_.find('\n');
    if (end != std::string::npos) {
      auto reply = nlohmann::json::parse(buffer_.substr(0, end), nullptr, false);
      buffer_.erase(0, end + 1);
      if (reply.is_discarded()) throw Error(who() + " answered " + doing + " with invalid JSON");
      if (reply.contains("event")) continue;
      return reply;
    }
    pollfd wait{fd_, POLLIN, 0};
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    const int ready = left.count() > 0 ? poll(&wait, 1, static_cast<int>(left.count())) : 0;
    if (ready == 0) throw Error(who() + " did not " + doing + " within 10 s");
    char chunk[4096];
    const ssize_t got = ready < 0 ? -1 : read(fd_, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || buffer_.size() > kReplyBytesMax)
      throw Error(who() + " went away while it was to " + doing);
    buffer_.append(chunk, static_cast<std::size_t>(got));
  }
}

}  // namespace specrep::xen
