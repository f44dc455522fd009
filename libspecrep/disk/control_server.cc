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
#include <list>
#include <system_error>

#include "libspecrep/error.h"
#include "libspecrep/wire/message.h"

namespace specrep::disk {

namespace {

using namespace std::chrono_literals;

constexpr Duration kConnectTimeout = 10s;
// One that has just gone may not have been noticed yet.
constexpr Duration kHandOver = 3s;
constexpr std::size_t kConnectionsMax = 8;
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
                                  wire::heartbeat_interval(attach.heartbeat_interval_ms()),
                                  kConnectTimeout);
    end = std::make_unique<SourceEnd>(source, *link, path, record, keep,
                                      wire::heartbeat_timeout(attach.heartbeat_timeout_ms()),
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
      chmod(socket_path_.c_str(), 0600) != 0 || listen(listening_, kConnectionsMax) != 0) {
    const int error = errno;
    if (listening_ >= 0) close(listening_);
    throw Error(errno_text("cannot listen at " + socket_path_, error));
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
  std::list<Connection> connections;
  while (!over_) {
    connections.remove_if([](Connection& connection) {
      if (connection.ended) connection.thread.join();
      return connection.ended.load();
    });
    pollfd waiting{listening_, POLLIN, 0};
    if (poll(&waiting, 1, static_cast<int>(milliseconds(kLook))) <= 0) continue;
    const int socket = accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) continue;
    if (connections.size() >= kConnectionsMax) {
      close(socket);
      continue;
    }
    Connection& connection = connections.emplace_back();
    try {
      connection.thread = std::thread([this, socket, &connection] {
        serve(socket);
        close(socket);
        connection.ended = true;
      });
    } catch (const std::system_error&) {  // the guest is served all the same
      connections.pop_back();
      close(socket);
    }
  }
  for (Connection& connection : connections) connection.thread.join();
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
  if (mirror) detach(std::move(mirror));
}

std::unique_ptr<ControlServer::Mirror> ControlServer::attach(const wire::DiskAttach& attach) {
  {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kHandOver, [this] { return !taken_; }))
      throw Error("a backup follows the disk " + path_ + " already",
                  "`xl remus-spec-list` shows which guest is protected with it");
    taken_ = true;
  }
  std::unique_ptr<Mirror> mirror;
  try {
    mirror = std::make_unique<Mirror>(source_, path_, record_, keep_, attach);
  } catch (...) {
    detach(nullptr);
    throw;
  }
  const std::lock_guard lock(mutex_);
  mirror_ = mirror.get();  // cppcheck-suppress danglingLifetime; detach() ends both
  return mirror;
}

void ControlServer::detach(std::unique_ptr<Mirror> mirror) {
  {
    const std::lock_guard lock(mutex_);
    mirror_ = nullptr;
  }
  mirror.reset();
  const std::lock_guard lock(mutex_);
  taken_ = false;
  changed_.notify_one();
}

void ControlServer::fill(wire::DiskState& state, Mirror& mirror) const {
  {
    const std::lock_guard lock(mirror.mutex);
    if (mirror.lost) state.set_lost(*mirror.lost);
  }
  // Before that the counts are of an earlier backup.
  if (!mirror.end->attached()) return;
  state.set_in_sync(source_.in_sync());
  state.set_chunks_to_send(source_.chunks_to_send());
  state.set_sent_bytes(source_.sent_bytes());
  state.set_held(source_.held_number());
  state.set_forgotten(source_.forgotten_number());
}

wire::Message ControlServer::answer(const wire::Envelope& question,
                                    std::unique_ptr<Mirror>& mirror) {
  if (!mirror && question.has_disk_ask() && !question.disk_ask().begin_epochs())
    return answer_asker();
  wire::Message message;
  wire::DiskState& state = *message.envelope.mutable_disk_state();
  try {
    if (question.has_disk_attach() && !mirror)
      mirror = attach(question.disk_attach());
    else if (!question.has_disk_ask() || !mirror)
      return wire::failure(Error("the server of a disk was asked for what it does not know"));
    fill(state, *mirror);
    if (!mirror->end->attached()) return message;
    const bool begin = question.has_disk_ask() && question.disk_ask().begin_epochs();
    state.set_mark(begin ? source_.begin_epochs() : source_.mark());
  } catch (const Error& error) {
    state.set_lost(with_advice(error));
  }
  return message;
}

wire::Message ControlServer::answer_asker() {
  wire::Message message;
  wire::DiskState& state = *message.envelope.mutable_disk_state();
  state.set_marked_chunks(source_.marked_chunks());
  const std::lock_guard lock(mutex_);
  if (!mirror_) return message;
  try {
    fill(state, *mirror_);
    state.set_followed(mirror_->end->attached() && state.lost().empty());
  } catch (const Error& error) {
    state.set_lost(with_advice(error));
  }
  return message;
}

}  // namespace specrep::disk
