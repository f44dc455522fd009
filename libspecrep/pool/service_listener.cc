#include "libspecrep/pool/service_listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio.hpp>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include "libspecrep/error.h"
#include "libspecrep/pool/service_relay.h"

namespace specrep::pool {

namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using namespace std::chrono_literals;
using tcp = asio::ip::tcp;
using boost::system::error_code;

// From the accepted connection to the name of the service.
constexpr Duration kOpeningMax = 5s;
// After the last frame, for the peer to take it and to close.
constexpr Duration kClosingMax = 5s;
// Of peers that have not yet shown who they are: when one more comes, the oldest has to go, so that
// a stranger's idle connections keep no host of the pool out.
constexpr std::size_t kStrangersMax = 16;
// Of the pool: a copy of a guest each, and the agents.
constexpr std::size_t kConnectionsMax = 256;
constexpr int kSignalled = 255;  // as ssh says it

TimePoint now() { return std::chrono::steady_clock::now(); }

Error system_error(const std::string& what) { return Error(errno_text(what)); }

// What a service's three standard streams are, and how its end is known.
struct Running {
  int in, out, err = -1;
  pid_t process = 0;
};

Running start_command(const std::vector<std::string>& command) {
  int in[2]{}, out[2]{}, err[2]{};
  for (int* ends : {in, out, err})
    if (pipe2(ends, O_CLOEXEC) != 0) throw system_error("making a pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  Running running{in[1], out[0], err[0], 0};
  const int error = posix_spawnp(&running.process, arguments[0], &actions, &attributes,
                                 arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  for (const int fd : {in[0], out[1], err[1]}) close(fd);
  if (error != 0)
    throw Error(errno_text("cannot run " + command[0], error),
                "is specrep installed completely there?");
  return running;
}

Running join_socket(const std::string& path) {
  asio::io_context io;
  asio::local::stream_protocol::socket socket(io);
  error_code error;
  socket.connect(asio::local::stream_protocol::endpoint(path), error);
  if (error)
    throw Error("cannot reach the service at " + path + ": " + error.message(),
                "there: systemctl status specrep-agent");
  const int in = dup(socket.native_handle());
  return {in, socket.release(), -1, 0};
}

// A peer that came over IPv4 to a socket of IPv6 has an address that only we understand.
std::string describe(const tcp::endpoint& endpoint) {
  const asio::ip::address address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string();
  return address.to_string();
}

// One connection, in its own process.
class Conversation {
 public:
  Conversation(const ServiceListener::Options& options, int socket, int alive)
      : options_(options), tls_(make_pool_tls(options.tls)), alive_(alive) {
    tcp::socket plain(io_);
    sockaddr_storage name{};
    socklen_t length = sizeof name;
    getsockname(socket, reinterpret_cast<sockaddr*>(&name), &length);
    plain.assign(name.ss_family == AF_INET ? tcp::v4() : tcp::v6(), socket);
    set_keepalive(plain);
    peer_ = plain.remote_endpoint();
    local_ = plain.local_endpoint();
    connection_.emplace(std::move(plain), tls_);
  }

  void run() {
    const TimePoint deadline = now() + kOpeningMax;
    std::string why;
    if (!shake_hands(io_, *connection_, ssl::stream_base::server, deadline, why))
      return spdlog::warn("refused {}: {}", describe(peer_), why);
    const std::string host = peer_host(*connection_);
    if (!options_.is_member(host))
      return spdlog::warn("refused {}: host '{}' is not in pool.conf", describe(peer_), host);
    if (write(alive_, "", 1) != 1) return;
    host_ = host;

    relay_.emplace(io_, *connection_,
                   ServiceRelay::Handlers{
                       .frame = [this](const ServiceFrame& frame) { handle(frame); },
                       .lost = [this](const std::string& lost) { end_of_connection(lost); }});
    relay_->start();
    io_.restart();
    io_.run_until(deadline);
    if (!opened_) return spdlog::warn("{}: asked for no service in time", host_);
    io_.run();
  }

 private:
  void handle(const ServiceFrame& frame) {
    if (opened_) return;
    opened_ = true;
    try {
      if (frame.kind != ServiceFrame::Kind::kOpen) throw Error("it does not begin with a service");
      open(frame.bytes);
    } catch (const Error& error) {
      spdlog::warn("{}: {}", host_, with_advice(error));
      conclude({ServiceFrame::Kind::kFailed, error.what() + std::string(1, '\0') + error.advice()});
    }
  }

  void open(const std::string& name) {
    const auto service = options_.services.find(name);
    if (service == options_.services.end())
      throw Error("there is no service '" + name + "'",
                  "install the same version of specrep there");
    // Where the other host reaches this one, told as sshd tells it.
    setenv("SSH_CONNECTION",
           (describe(peer_) + " " + std::to_string(peer_.port()) + " " + describe(local_) + " " +
            std::to_string(local_.port()))
               .c_str(),
           1);
    setenv("SPECREP_PEER", host_.c_str(), 1);
    const Running running = service->second.command.empty()
                                ? join_socket(service->second.socket)
                                : start_command(service->second.command);
    relay_->write_to(running.in, ServiceFrame::Kind::kIn);
    relay_->send_from(running.out, ServiceFrame::Kind::kOut);
    if (running.err >= 0) relay_->send_from(running.err, ServiceFrame::Kind::kErr);
    if (running.process == 0) return relay_->when_all_sent([this] { conclude(ended(0)); });
    ended_.emplace(io_, static_cast<int>(syscall(SYS_pidfd_open, running.process, 0)));
    ended_->async_wait(asio::posix::stream_descriptor::wait_read,
                       [this, process = running.process](error_code error) {
                         if (error) return;
                         int status = 0;
                         waitpid(process, &status, 0);
                         const int code = WIFEXITED(status) ? WEXITSTATUS(status) : kSignalled;
                         relay_->finish([this, code] { conclude(ended(code)); });
                       });
  }

  static ServiceFrame ended(int status) {
    return {ServiceFrame::Kind::kEnded, std::string(1, static_cast<char>(status))};
  }

  // The last frame. Then what still comes is read, or the kernel would answer it with a reset,
  // which may overtake the frame.
  void conclude(const ServiceFrame& last) {
    relay_->send(last, [this] {
      error_code ignored;
      connection_->next_layer().shutdown(tcp::socket::shutdown_send, ignored);
      closing_.expires_after(kClosingMax);
      closing_.async_wait([this](error_code error) {
        if (!error) io_.stop();
      });
    });
  }

  // The service goes on, if it wants, without its streams, as sshd leaves what it has started.
  void end_of_connection(const std::string&) { io_.stop(); }

  const ServiceListener::Options& options_;
  asio::io_context io_{1};
  ssl::context tls_;
  const int alive_;
  tcp::endpoint peer_, local_;
  std::string host_;
  std::optional<TlsStream> connection_;
  std::optional<ServiceRelay> relay_;
  std::optional<asio::posix::stream_descriptor> ended_;
  asio::steady_timer closing_{io_};
  bool opened_ = false;
};

int listen_on(const tcp::endpoint& endpoint) {
  const int fd =
      socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int yes = 1, no = 0;
  if (fd >= 0) {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    // Its interface may come up later than this.
    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &yes, sizeof yes);
    if (endpoint.protocol() == tcp::v6() && endpoint.address().is_unspecified())
      setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    if (bind(fd, endpoint.data(), static_cast<socklen_t>(endpoint.size())) == 0 &&
        listen(fd, SOMAXCONN) == 0)
      return fd;
  }
  const Error error = system_error("cannot listen at " + describe(endpoint) + ", port " +
                                   std::to_string(endpoint.port()));
  if (fd >= 0) close(fd);
  throw error;
}

}  // namespace

ServiceListener::ServiceListener(Options options) : options_(std::move(options)) {
  make_pool_tls(options_.tls);  // what is wrong with the files is to be known now
  std::vector<asio::ip::address> addresses;
  for (const std::string& text : options_.addresses) {
    error_code error;
    addresses.push_back(asio::ip::make_address(text, error));
    if (error) throw Error("'" + text + "' is no address", "give it in numbers");
  }
  if (addresses.empty()) {
    try {
      sockets_.push_back(listen_on({tcp::v6(), options_.port}));
    } catch (const Error&) {  // a host without IPv6
      sockets_.push_back(listen_on({tcp::v4(), options_.port}));
    }
  }
  for (const asio::ip::address& address : addresses)
    sockets_.push_back(listen_on({address, options_.port}));
}

ServiceListener::~ServiceListener() {
  for (const int socket : sockets_) close(socket);
  for (const Connection& connection : connections_) close(connection.alive);
}

std::uint16_t ServiceListener::port() const {
  sockaddr_in6 name{};
  socklen_t length = sizeof name;
  getsockname(sockets_.front(), reinterpret_cast<sockaddr*>(&name), &length);
  return ntohs(name.sin6_port);  // where sockaddr_in has it, too
}

void ServiceListener::serve(Duration time, const sigset_t& unblocked) {
  std::vector<pollfd> set;
  for (const Connection& connection : connections_) set.push_back({connection.alive, POLLIN, 0});
  for (const int socket : sockets_) set.push_back({socket, POLLIN, 0});
  const auto ns = std::max(time, Duration::zero()).count();
  const timespec timeout{static_cast<time_t>(ns / 1'000'000'000),
                         static_cast<long>(ns % 1'000'000'000)};
  if (ppoll(set.data(), set.size(), &timeout, &unblocked) <= 0) return;
  for (std::size_t i = 0; i < connections_.size(); ++i)
    if (set[i].revents != 0) look_at(connections_[i]);
  const std::size_t watched = connections_.size();
  std::erase_if(connections_, [](const Connection& connection) { return connection.process == 0; });
  for (std::size_t i = 0; i < sockets_.size(); ++i)
    if (set[watched + i].revents != 0) accept(sockets_[i]);
}

void ServiceListener::look_at(Connection& connection) {
  char byte = 0;
  if (read(connection.alive, &byte, 1) == 1) {
    connection.known = true;
    return;
  }
  close(connection.alive);
  waitpid(connection.process, nullptr, 0);
  connection.process = 0;
}

void ServiceListener::make_room() {
  const auto strangers = std::count_if(connections_.begin(), connections_.end(),
                                       [](const Connection& c) { return !c.known; });
  if (static_cast<std::size_t>(strangers) < kStrangersMax) return;
  const auto oldest = std::find_if(connections_.begin(), connections_.end(),
                                   [](const Connection& c) { return !c.known; });
  kill(oldest->process, SIGKILL);
  waitpid(oldest->process, nullptr, 0);
  close(oldest->alive);
  connections_.erase(oldest);
}

void ServiceListener::accept(int socket) {
  const int accepted = accept4(socket, nullptr, nullptr, SOCK_CLOEXEC);
  if (accepted < 0) return;
  if (connections_.size() >= kConnectionsMax) {
    spdlog::warn("refused a connection: there are {} already", kConnectionsMax);
    close(accepted);
    return;
  }
  make_room();
  int alive[2];
  const pid_t process = pipe2(alive, O_CLOEXEC) == 0 ? fork() : -1;
  if (process == 0) {
    for (const int other : sockets_) close(other);
    close(alive[0]);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) signal(number, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    try {
      Conversation(options_, accepted, alive[1]).run();
    } catch (const std::exception& error) {
      spdlog::error("a connection: {}", error.what());
    }
    _exit(0);
  }
  close(accepted);
  if (process < 0) return spdlog::error(errno_text("cannot start a process"));
  close(alive[1]);
  connections_.push_back({process, alive[0], false});
}

}  // namespace specrep::pool
