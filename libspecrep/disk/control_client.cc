#include "libspecrep/disk/control_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "libspecrep/error.h"

namespace specrep::disk {

namespace {

using namespace std::chrono_literals;

constexpr Duration kAskTimeout = 2s;
constexpr Duration kAttachTimeout = 15s;  // it connects to the backup meanwhile
constexpr timeval kConnectTimeout{2, 0};  // others may be waiting to be served

}  // namespace

ControlClient::ControlClient(const Places& places) : path_(places.control_socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
  socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket_ < 0 ||
      setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &kConnectTimeout, sizeof kConnectTimeout) != 0 ||
      connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    if (socket_ >= 0) close(socket_);
    throw Error(errno_text("the server of the disk cannot be reached at " + path_, error),
                "was the guest started with script=block-specrep? See /var/log/specrep");
  }
  channel_.emplace(socket_, socket_);
}

ControlClient::~ControlClient() { close(socket_); }

wire::DiskState ControlClient::exchange(wire::Message message, Duration timeout) {
  channel_->send(std::move(message));
  const auto answer = channel_->receive(timeout);
  if (!answer) throw Error("the server of the disk does not answer at " + path_);
  if (answer->envelope.has_failure())
    throw wire::to_error(answer->envelope.failure(), "the server of the disk");
  if (!answer->envelope.has_disk_state())
    throw wire::ProtocolError("the server of the disk answered with something else");
  return answer->envelope.disk_state();
}

wire::DiskState ControlClient::attach(const wire::DiskAttach& attach) {
  wire::Message message;
  *message.envelope.mutable_disk_attach() = attach;
  return exchange(std::move(message), kAttachTimeout);
}

wire::DiskState ControlClient::ask(bool begin_epochs) {
  wire::Message message;
  message.envelope.mutable_disk_ask()->set_begin_epochs(begin_epochs);
  return exchange(std::move(message), kAskTimeout);
}

}  // namespace specrep::disk
