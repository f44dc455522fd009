#include "libspecrep/disk/control_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "libspecrep/error.h"

namespace specrep::disk {

namespace {

using namespace std::chrono_literals;

constexpr Duration kConnectTimeout = 10s;
// How soon it is noticed that this is to end.
constexpr Duration kLook = 100ms;

}  // namespace

struct ControlServer::Mirror {
  Mirror(Source& source, const std::string& path, Record& record, const KeepRecord& keep,
         const wire::DiskAttach& attach) {
    wire::PreSharedKey key{};
    if (attach.pre_shared_key().size() != key.size())
      throw wire::ProtocolError("the key of a disk's link has the wrong length");
    std::copy_n(attach.pre_shared_key().begin(), key.size(), key.begin());
    link = wire::TlsLink::connect({attach.addresses().begin(), attach.addresses().end()},
                                  static_cast<std::uint16_t>(attach.port()), key,
                                  std::chrono::milliseconds(attach.heartbeat_interval_ms()),
                                  kConnectTimeout);
    end = std::make_unique<SourceEnd>(source, *link, path, record, keep,
                                      std::chrono::milliseconds(attach.heartbeat_timeout_ms()),
                                      attach.resync_bytes_per_s());
    thread = std::thread([this] {
      std::string why = end->run();
      const std::lock_guard lock(mutex);
      lost = std::move(why);
    });
  }
  ~Mirror() {
    end->stop();
    thread.join();
  }

  std::unique_ptr<wire::TlsLink> link;
  std::unique_ptr<SourceEnd> end;
  std::mutex mutex;
  std::optional<std::string> lost;
  std::thread thread;
};

ControlServer::ControlServer(Source& source, std::string path, const Record& record,
                             KeepRecord keep)
    : source_(source),
      path_(std::move(path)),
      record_(record),
      keep_(std::move(keep)),
      socket_path_(Places(path_).control_socket) {
  std::error_code ignored;
  const std::filesystem::path folder = std::filesystem::path(socket_path_).parent_path();
  std::filesystem::create_directories(folder, ignored);
  chmod(folder.c_str(), 0700);
  unlink(socket_path_.c_str());  // of a server that was killed
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_path_.c_str(), socket_path_.size() + 1);
  listening_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listening_ < 0 ||
      bind(listening_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      chmod(socket_path_.c_str(), 0600) != 0 || listen(listening_, 1) != 0) {
    const int error = errno;
    if (listening_ >= 0) close(listening_);
    throw Error("cannot listen at " + socket_path_ + ": " + std::strerror(error));
  }
  thread_ = std::thread([this] { run(); });
}

ControlServer::~ControlServer() {
  over_ = true;
  thread_.join();
  close(listening_);
  unlink(socket_path_.c_str());
}

void ControlServer::run() {
  while (!over_) {
    pollfd waiting{listening_, POLLIN, 0};
    if (poll(&waiting, 1, static_cast<int>(milliseconds(kLook))) <= 0) continue;
    const int connection = accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    serve(connection);
    close(connection);
  }
}

void ControlServer::serve(int connection) {
  wire::FdChannel channel(connection, connection);
  std::unique_ptr<Mirror> mirror;
  try {
    while (!over_) {
      const auto question = channel.receive(kLook);
      if (question) channel.send(answer(question->envelope, mirror));
    }
  } catch (const Error&) {
    // Whoever asked has gone.
  }
}

wire::Message ControlServer::answer(const wire::Envelope& question,
                                    std::unique_ptr<Mirror>& mirror) {
  wire::Message message;
  wire::DiskState& state = *message.envelope.mutable_disk_state();
  try {
    if (question.has_disk_attach() && !mirror)
      mirror = std::make_unique<Mirror>(source_, path_, record_, keep_, question.disk_attach());
    else if (!question.has_disk_ask() || !mirror)
      return wire::failure(Error("the server of a disk was asked for what it does not know"));
    {
      const std::lock_guard lock(mirror->mutex);
      if (mirror->lost) state.set_lost(*mirror->lost);
    }
    // Before that the counts are of an earlier backup.
    if (!mirror->end->attached()) return message;
    state.set_in_sync(source_.in_sync());
    state.set_chunks_to_send(source_.chunks_to_send());
    state.set_sent_bytes(source_.sent_bytes());
    state.set_held(source_.held_number());
    const bool begin = question.has_disk_ask() && question.disk_ask().begin_epochs();
    state.set_mark(begin ? source_.begin_epochs() : source_.mark());
  } catch (const Error& error) {
    state.set_lost(error.what());
  }
  return message;
}

}  // namespace specrep::disk
