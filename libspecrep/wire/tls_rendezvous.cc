// How the two ends of a data link find each other: TlsLink::connect and TlsListener.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <list>

#include "libspecrep/wire/tls_link_impl.h"

namespace specrep::wire {
namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using tcp = asio::ip::tcp;
using boost::system::error_code;

// From the accepted connection to the end of the TLS handshake, and from there to the Hello.
constexpr auto kHandshakeTimeout = std::chrono::seconds(5);
// Handshakes at the same time: a stranger's idle connections must not keep the peer waiting.
constexpr std::size_t kHandshakesMax = 16;

TimePoint now() { return std::chrono::steady_clock::now(); }

// libxl's children must not inherit a connection: it would outlive this process, and the peer take a
// process that was killed for a host that is silent.
template <typename Socket>
void close_on_exec(Socket& socket) {
  fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
}

// Connects and shakes hands within the time; nothing and `error` when that fails.
std::unique_ptr<TlsStream> try_connect(asio::io_context& io, TlsContext& tls,
                                       const tcp::endpoint& endpoint, TimePoint deadline,
                                       error_code& error) {
  auto stream = tls.stream(tcp::socket(io), ssl::stream_base::client);
  stream->next_layer().open(endpoint.protocol(), error);
  if (error) return nullptr;
  close_on_exec(stream->next_layer());
  std::optional<error_code> result;
  stream->next_layer().async_connect(endpoint, [&](error_code connect_error) {
    if (connect_error) {
      result = connect_error;
      return;
    }
    stream->async_handshake(ssl::stream_base::client,
                            [&](error_code handshake_error) { result = handshake_error; });
  });
  io.restart();
  io.run_until(deadline);
  if (!result) {
    error_code ignored;
    stream->next_layer().close(ignored);
    io.restart();
    io.run();  // the handlers refer to this frame
    result = asio::error::timed_out;
  }
  io.restart();
  error = *result;
  if (!error && !TlsContext::authenticated(*stream)) error = asio::error::access_denied;
  return error ? nullptr : std::move(stream);
}

}  // namespace

std::unique_ptr<TlsLink> TlsLink::connect(const std::vector<std::string>& addresses,
                                          std::uint16_t port, const PreSharedKey& key,
                                          Duration heartbeat_interval, Duration timeout) {
  const TimePoint deadline = now() + timeout;
  const auto tls = std::make_shared<TlsContext>(key);

  std::string failures;
  const auto note = [&](const std::string& where, const std::string& why) {
    failures += (failures.empty() ? "" : "; ") + where + ": " + why;
  };
  std::vector<tcp::endpoint> endpoints;
  asio::io_context resolver_io;
  for (const auto& address : addresses) {
    error_code error;
    for (const auto& entry :
         tcp::resolver(resolver_io).resolve(address, std::to_string(port), error))
      endpoints.push_back(entry.endpoint());
    if (error) note(address, error.message());
  }

  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    const std::string where = endpoints[i].address().to_string();
    // Each has its share, so that one that swallows packets leaves time for the next.
    const auto share = (deadline - now()) / static_cast<int>(endpoints.size() - i);
    const TimePoint attempt_deadline = now() + share;
    error_code error;
    auto io = std::make_unique<asio::io_context>(1);
    auto stream = try_connect(*io, *tls, endpoints[i], attempt_deadline, error);
    if (!stream) {
      note(where, error.category() == asio::error::get_ssl_category()
                      ? "the TLS handshake failed (" + error.message() + ")"
                      : error.message());
      continue;
    }
    auto impl = std::make_unique<Impl>(std::move(io), tls, std::move(stream), heartbeat_interval);
    try {
      impl->peer_ = impl->exchange_hello(attempt_deadline);
      return std::make_unique<TlsLink>(std::move(impl));
    } catch (const Silent& e) {
      note(where, e.what());
    }
  }
  throw Error("no data link on port " + std::to_string(port) + ": " +
                  (failures.empty() ? "no address is known" : failures),
              "see that no firewall between the hosts blocks TCP port " + std::to_string(port));
}

struct TlsListener::Impl {
  explicit Impl(const PreSharedKey& key) : tls(std::make_shared<TlsContext>(key)), acceptor(io) {}

  std::shared_ptr<TlsContext> tls;
  asio::io_context io;  // never run: only to own the socket
  tcp::acceptor acceptor;
  std::uint16_t port = 0;
};

TlsListener::TlsListener(const PreSharedKey& key) : impl_(std::make_unique<Impl>(key)) {
  auto& acceptor = impl_->acceptor;
  const auto listen = [&](const tcp::endpoint& endpoint) {
    error_code error;
    acceptor.open(endpoint.protocol(), error);
    if (!error) close_on_exec(acceptor);
    if (!error && endpoint.protocol() == tcp::v6())
      acceptor.set_option(asio::ip::v6_only(false), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (!error) impl_->port = acceptor.local_endpoint(error).port();
    if (error && acceptor.is_open()) {
      error_code ignored;
      acceptor.close(ignored);
    }
    return error;
  };
  // Hosts can have IPv6 disabled in more than one way; whichever it is, IPv4 is left.
  if (!listen({tcp::v6(), 0})) return;
  if (const auto error = listen({tcp::v4(), 0}))
    throw Error("cannot listen for the data link: " + error.message());
}

TlsListener::~TlsListener() = default;

std::uint16_t TlsListener::port() const { return impl_->port; }

namespace {

// Shakes hands with whoever connects, several at a time, until one knows the key.
class Reception {
 public:
  // Listens on a copy of the listener's descriptor: the io_context goes to the link in the end.
  Reception(asio::io_context& io, TlsContext& tls, tcp::acceptor& listener)
      : io_(io), tls_(tls), acceptor_(io) {
    const int fd = fcntl(listener.native_handle(), F_DUPFD_CLOEXEC, 0);
    error_code error(errno, boost::system::system_category());
    if (fd >= 0) acceptor_.assign(listener.local_endpoint().protocol(), fd, error);
    if (!acceptor_.is_open()) throw Error("cannot listen for the data link: " + error.message());
  }

  // Nothing when the time is over.
  std::unique_ptr<TlsStream> wait(TimePoint deadline) {
    accept();
    while (!done_ && now() < deadline) io_.run_one_until(deadline);
    done_ = true;
    error_code ignored;
    acceptor_.close(ignored);
    for (auto& caller : callers_) drop(caller);
    io_.restart();
    io_.run();  // the handlers refer to this object
    io_.restart();
    if (failed_) throw Error("cannot accept the data link: " + failed_.message());
    return std::move(winner_);
  }

 private:
  struct Caller {
    std::unique_ptr<TlsStream> stream;
    asio::steady_timer timer;
  };

  void accept() {
    if (done_ || accepting_ || callers_.size() >= kHandshakesMax) return;
    accepting_ = true;
    acceptor_.async_accept(io_, [this](error_code error, tcp::socket socket) {
      accepting_ = false;
      if (done_) return;
      if (error) {
        failed_ = error;
        done_ = true;
        return;
      }
      answer(std::move(socket));
      accept();
    });
  }

  void answer(tcp::socket socket) {
    close_on_exec(socket);
    callers_.push_back({tls_.stream(std::move(socket), ssl::stream_base::server),
                        asio::steady_timer(io_, kHandshakeTimeout)});
    const auto caller = std::prev(callers_.end());
    caller->timer.async_wait([caller](error_code error) {
      if (!error) drop(*caller);
    });
    caller->stream->async_handshake(ssl::stream_base::server, [this, caller](error_code error) {
      caller->timer.cancel();
      if (!done_ && !error && TlsContext::authenticated(*caller->stream)) {
        winner_ = std::move(caller->stream);
        done_ = true;
      }
      // The timer's handler still refers to the caller: it goes when that has run.
      asio::post(io_, [this, caller] {
        callers_.erase(caller);
        accept();
      });
    });
  }

  // Makes the handshake end with an error.
  static void drop(Caller& caller) {
    error_code ignored;
    if (caller.stream) caller.stream->next_layer().close(ignored);
  }

  asio::io_context& io_;
  TlsContext& tls_;
  tcp::acceptor acceptor_;
  std::list<Caller> callers_;
  std::unique_ptr<TlsStream> winner_;
  error_code failed_;
  bool accepting_ = false;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<TlsLink> TlsListener::accept(Duration heartbeat_interval, Duration timeout) {
  const TimePoint deadline = now() + timeout;
  for (;;) {
    auto io = std::make_unique<asio::io_context>(1);
    auto stream = Reception(*io, *impl_->tls, impl_->acceptor).wait(deadline);
    if (!stream)
      throw Error(
          "nobody with the right key connected to port " + std::to_string(port()) + " in time",
          "see that no firewall between the hosts blocks TCP port " + std::to_string(port()));
    auto impl = std::make_unique<TlsLink::Impl>(std::move(io), impl_->tls, std::move(stream),
                                                heartbeat_interval);
    try {
      impl->peer_ = impl->exchange_hello(std::min<TimePoint>(deadline, now() + kHandshakeTimeout));
      impl_->acceptor.close();
      return std::make_unique<TlsLink>(std::move(impl));
    } catch (const Silent&) {
      // It may try again.
    }
  }
}

}  // namespace specrep::wire
