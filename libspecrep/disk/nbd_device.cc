#include "libspecrep/disk/nbd_device.h"

#include <endian.h>
#include <linux/nbd-netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <thread>

#include "libspecrep/error.h"

namespace specrep::disk {

namespace {

// How long the guest waits for a server that has died, before its requests fail.
constexpr std::uint64_t kDeadServerSeconds = 600;
// After this the driver looks whether a request was lost with an old server. It has no other way to
// learn that, and the default of 30 s is what the guest would wait.
constexpr unsigned kRequestTimeoutMs = 1000;
constexpr timeval kHandshakeTimeout{5, 0};
constexpr int kListenTries = 50;
constexpr auto kListenPause = std::chrono::milliseconds(20);

// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md, "Fixed newstyle negotiation".
constexpr std::uint64_t kMagic = 0x4e42444d41474943, kOptionMagic = 0x49484156454f5054;
constexpr std::uint32_t kExportName = 1;
constexpr std::uint16_t kFixedNewstyle = 1, kNoZeroes = 2;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

struct [[gnu::packed]] Greeting {
  std::uint64_t magic, option_magic;
  std::uint16_t flags;
};
struct [[gnu::packed]] Choice {
  std::uint32_t flags;
  std::uint64_t magic;
  std::uint32_t option, length;
};
struct [[gnu::packed]] Export {
  std::uint64_t size_bytes;
  std::uint16_t flags;
};

template <typename T>
void receive(int fd, T& what) {
  if (recv(fd, &what, sizeof what, MSG_WAITALL) != sizeof what)
    throw Error("the server of a disk does not speak NBD");
}

struct Connection {
  std::unique_ptr<Socket> socket;
  std::uint64_t size_bytes = 0;
  std::uint16_t flags = 0;
};

Connection connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw Error("too long for a socket: " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Connection connection;
  connection.socket = std::make_unique<Socket>(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int fd = connection.socket->get();
  const auto connects = [&] {
    return fd >= 0 && connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  };
  // A server that has just started has its socket a moment before it listens.
  bool connected = connects();
  for (int i = 0; !connected && errno == ECONNREFUSED && i < kListenTries; ++i) {
    std::this_thread::sleep_for(kListenPause);
    connected = connects();
  }
  if (!connected) throw Error(errno_text("the server of a disk cannot be reached at " + path));
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kHandshakeTimeout, sizeof kHandshakeTimeout);
  Greeting greeting;
  receive(fd, greeting);
  if (be64toh(greeting.magic) != kMagic || be64toh(greeting.option_magic) != kOptionMagic)
    throw Error("the server of a disk does not speak NBD");
  const Choice choice{htobe32(kFixedNewstyle | kNoZeroes), htobe64(kOptionMagic),
                      htobe32(kExportName), 0};
  if (send(fd, &choice, sizeof choice, MSG_NOSIGNAL) != sizeof choice)
    throw Error(errno_text("the server of a disk hung up"));
  Export served;
  receive(fd, served);
  const timeval forever{};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
  connection.size_bytes = be64toh(served.size_bytes);
  connection.flags = be16toh(served.flags);
  return connection;
}

void load_driver() {
  if (access("/sys/module/nbd", F_OK) == 0) return;
  char program[] = "modprobe", module[] = "nbd", no_devices[] = "nbds_max=0";
  char* arguments[] = {program, module, no_devices, nullptr};
  pid_t child = 0;
  int status = 1;
  if (posix_spawnp(&child, program, nullptr, nullptr, arguments, environ) == 0)
    waitpid(child, &status, 0);
  if (status != 0)
    throw Error("the kernel has no nbd driver", "install a dom0 kernel with the module nbd");
}

// One command to the driver, and what it answers.
class Command {
 public:
  explicit Command(std::uint8_t command) : socket_(nl_socket_alloc()), message_(nlmsg_alloc()) {
    if (!socket_ || !message_) throw std::bad_alloc();
    check(genl_connect(socket_.get()), "connecting");
    const int family = genl_ctrl_resolve(socket_.get(), NBD_GENL_FAMILY_NAME);
    check(family, "finding");
    if (!genlmsg_put(message_.get(), NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, 0, command,
                     NBD_GENL_VERSION))
      throw Error("a message to the kernel's nbd driver is too long");
  }
  void add(int attribute, std::uint64_t value) {
    check(nla_put_u64(message_.get(), attribute, value), "asking");
  }
  // By this name a later process finds the device, and only with it the driver reconnects.
  void add_disk(const std::string& disk) {
    check(nla_put_string(message_.get(), NBD_ATTR_BACKEND_IDENTIFIER, disk.c_str()), "asking");
  }
  void add_index(unsigned index) {
    check(nla_put_u32(message_.get(), NBD_ATTR_INDEX, index), "asking");
  }
  void add_socket(int fd) {
    nlattr* const sockets = nla_nest_start(message_.get(), NBD_ATTR_SOCKETS);
    nlattr* const item = sockets ? nla_nest_start(message_.get(), NBD_SOCK_ITEM) : nullptr;
    if (!item) throw Error("a message to the kernel's nbd driver is too long");
    check(nla_put_u32(message_.get(), NBD_SOCK_FD, static_cast<std::uint32_t>(fd)), "asking");
    nla_nest_end(message_.get(), item);
    nla_nest_end(message_.get(), sockets);
  }
  // Returns the device that the driver names, if it does.
  std::optional<unsigned> run() {
    std::optional<unsigned> index;
    nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, &Command::heard, &index);
    check(nl_send_auto(socket_.get(), message_.get()), "asking");
    check(nl_recvmsgs_default(socket_.get()), "asking");
    // CONNECT answers before it acknowledges, the others acknowledge only.
    if (index) check(nl_wait_for_ack(socket_.get()), "asking");
    return index;
  }

 private:
  static int heard(nl_msg* message, void* out) {
    nlattr* attributes[NBD_ATTR_MAX + 1];
    if (genlmsg_parse(nlmsg_hdr(message), 0, attributes, NBD_ATTR_MAX, nullptr) == 0 &&
        attributes[NBD_ATTR_INDEX])
      *static_cast<std::optional<unsigned>*>(out) = nla_get_u32(attributes[NBD_ATTR_INDEX]);
    return NL_OK;
  }
  static void check(int rc, const char* doing) {
    if (rc < 0) throw Error(std::string(doing) + " the kernel's nbd driver: " + nl_geterror(rc));
  }
  struct Free {
    void operator()(nl_sock* socket) const { nl_socket_free(socket); }
    void operator()(nl_msg* message) const { nlmsg_free(message); }
  };
  std::unique_ptr<nl_sock, Free> socket_;
  std::unique_ptr<nl_msg, Free> message_;
};

}  // namespace

NbdDevice::NbdDevice(const std::string& disk, const std::string& socket_path,
                     std::uint32_t sector_bytes)
    : disk_(disk), socket_path_(socket_path) {
  load_driver();
  if (const auto left = find(disk)) {
    index_ = *left;
    reconnect();
    return;
  }
  const Connection connection = connect_to(socket_path_);
  Command command(NBD_CMD_CONNECT);
  command.add(NBD_ATTR_SIZE_BYTES, connection.size_bytes);
  command.add(NBD_ATTR_BLOCK_SIZE_BYTES, sector_bytes);
  command.add(NBD_ATTR_SERVER_FLAGS, connection.flags);
  // With a time here a server that is only slow would have its connection killed.
  command.add(NBD_ATTR_TIMEOUT, 0);
  command.add(NBD_ATTR_DEAD_CONN_TIMEOUT, kDeadServerSeconds);
  command.add_disk(disk_);
  command.add_socket(connection.socket->get());
  const auto index = command.run();
  if (!index) throw Error("the kernel's nbd driver does not say which device it made");
  index_ = *index;
  std::ofstream timeout("/sys/block/nbd" + std::to_string(index_) + "/queue/io_timeout");
  if (!(timeout << kRequestTimeoutMs << std::flush)) {
    disconnect();
    throw Error("cannot set the request timeout of " + path());
  }
}

std::optional<unsigned> NbdDevice::find(const std::string& disk) {
  std::error_code error;
  for (const auto& device : std::filesystem::directory_iterator("/sys/block", error)) {
    const std::string entry = device.path().filename();
    unsigned index = 0;
    if (!entry.starts_with("nbd") ||
        std::from_chars(entry.data() + 3, entry.data() + entry.size(), index).ec != std::errc{})
      continue;
    std::ifstream file(device.path() / "backend");
    std::string name;
    if (std::getline(file, name) && name == disk) return index;
  }
  return {};
}

void NbdDevice::reconnect() {
  const Connection connection = connect_to(socket_path_);
  Command command(NBD_CMD_RECONFIGURE);
  command.add_index(index_);
  command.add_disk(disk_);
  // Neither a size (newer kernels freeze the queue for it, which waits for the lost requests) nor a
  // timeout (it would set the request timer back).
  command.add_socket(connection.socket->get());
  command.run();
}

void NbdDevice::disconnect(unsigned index) {
  Command command(NBD_CMD_DISCONNECT);
  command.add_index(index);
  command.run();
}

}  // namespace specrep::disk
