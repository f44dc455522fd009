#include "libspecrep/pool/service_client.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio.hpp>
#include <optional>
#include <utility>

#include "libspecrep/error.h"
#include "libspecrep/pool/service_relay.h"

namespace specrep::pool {

namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using tcp = asio::ip::tcp;
using boost::system::error_code;

TimePoint now() { return std::chrono::steady_clock::now(); }

// Within the time; the error that there was.
error_code connect(asio::io_context& io, tcp::socket& socket, const tcp::endpoint& endpoint,
                   TimePoint deadline) {
  std::optional<error_code> result;
  socket.async_connect(endpoint, [&result](error_code error) { result = error; });
  io.restart();
  io.run_until(deadline);
  if (!result) {
    error_code ignored;
    socket.close(ignored);
    io.restart();
    io.run();  // the handler refers to this frame
    return asio::error::timed_out;
  }
  return *result;
}

tcp::socket connect_any(asio::io_context& io, const ServiceRequest& request, TimePoint deadline) {
  error_code error;
  const auto endpoints =
      tcp::resolver(io).resolve(request.address, std::to_string(request.port), error);
  std::size_t left = endpoints.size();
  for (const auto& entry : endpoints) {
    tcp::socket socket(io);
    // Each has its share, so that one that swallows packets leaves time for the next.
    const auto share = (deadline - now()) / static_cast<int>(left--);
    error = connect(io, socket, entry.endpoint(), now() + share);
    if (!error) return socket;
  }
  throw Error("cannot reach specrep-listener on " + request.address + ", port " +
                  std::to_string(request.port) + ": " + error.message(),
              "there: systemctl status specrep-listener; see that no firewall blocks the port");
}

// Closes what the request brought, unless it is given away.
struct Descriptors {
  explicit Descriptors(const ServiceRequest& request)
      : in(request.in), out(request.out), err(request.err) {}
  ~Descriptors() {
    for (const int fd : {in, out, err})
      if (fd >= 0) close(fd);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  int in, out, err;
};

}  // namespace

int ask_service(ServiceRequest request) {
  Descriptors streams(request);
  asio::io_context io(1);
  ssl::context tls = make_pool_tls(request.tls);
  const TimePoint deadline = now() + request.timeout;
  TlsStream connection(connect_any(io, request, deadline), tls);
  set_keepalive(connection.next_layer());
  std::string why;
  if (!shake_hands(io, connection, ssl::stream_base::client, deadline, why))
    throw Error(request.address + " is not a host of this pool: " + why,
                "`specrep-pool status` on both hosts says which pool they are of");
  const std::string host = peer_host(connection);
  if (!request.is_expected(host))
    throw Error(
        request.address + " answers as host '" + host + "', which pool.conf does not have there",
        "see that pool.conf is the same on all hosts");

  std::optional<int> status;
  std::optional<Error> failure;
  bool heard = false;
  ServiceRelay relay(
      io, connection,
      {.frame =
           [&](const ServiceFrame& frame) {
             heard = true;
             if (frame.kind == ServiceFrame::Kind::kEnded && frame.bytes.size() == 1)
               status = static_cast<unsigned char>(frame.bytes[0]);
             if (frame.kind == ServiceFrame::Kind::kFailed) {
               const auto zero = std::min(frame.bytes.find('\0'), frame.bytes.size());
               failure = Error(request.address + ": " + frame.bytes.substr(0, zero),
                               frame.bytes.substr(std::min(zero + 1, frame.bytes.size())));
             }
             if (status || failure) io.stop();
           },
       .lost =
           [&](const std::string& lost) {
             // With TLS 1.3 a client hears only now that its certificate was refused.
             failure = heard ? Error("the connection to " + request.address + " broke: " + lost)
                             : Error(request.address +
                                         " does not take this host for one of its pool: " + lost,
                                     "there: journalctl -u specrep-listener says why");
             io.stop();
           }});
  relay.write_to(std::exchange(streams.out, -1), ServiceFrame::Kind::kOut);
  relay.write_to(std::exchange(streams.err, -1), ServiceFrame::Kind::kErr);
  relay.send({ServiceFrame::Kind::kOpen, request.service});
  relay.send_from(std::exchange(streams.in, -1), ServiceFrame::Kind::kIn);
  relay.start();
  io.restart();
  io.run();
  if (failure) throw *failure;
  return *status;
}

}  // namespace specrep::pool
