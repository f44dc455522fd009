// The only file with Boost.Beast, which takes its time to compile.

#include "libspecrep/arbiter/http_post.h"

#include <openssl/ssl.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <optional>

#include "libspecrep/error.h"

namespace specrep::arbiter {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr std::uint32_t kHeaderBytesMax = 8 << 10;
// Of an error's body, which goes into our error.
constexpr std::size_t kQuotedBytesMax = 200;

std::string quote(const std::string& body) {
  std::string text;
  for (const char c : body.substr(0, kQuotedBytesMax)) text += c >= ' ' && c <= '~' ? c : ' ';
  return text;
}

// Asio's operations one after the other, each until the same deadline.
class Steps {
 public:
  Steps(asio::io_context& io, tcp::socket& socket, TimePoint deadline)
      : io_(io), socket_(socket), deadline_(deadline) {}

  // `start` starts one operation with the handler that it is given.
  template <typename Start>
  void run(const std::string& doing, Start start) {
    std::optional<error_code> result;
    start([&result](error_code error, std::size_t = 0) { result = error; });
    io_.restart();
    io_.run_until(deadline_);
    if (!result) {
      error_code ignored;
      socket_.close(ignored);
      io_.restart();
      io_.run();  // the handler refers to this frame
      throw Error(doing + ": no answer in time");
    }
    if (*result) throw Error(doing + ": " + result->message());
  }

 private:
  asio::io_context& io_;
  tcp::socket& socket_;
  TimePoint deadline_;
};

template <typename Stream>
std::string exchange(Stream& stream, Steps& steps,
                     const http::request<http::string_body>& request) {
  steps.run("sending", [&](auto done) { http::async_write(stream, request, done); });
  http::response_parser<http::string_body> answer;
  answer.header_limit(kHeaderBytesMax);
  answer.body_limit(kHttpBodyBytesMax);
  boost::beast::flat_buffer buffer(kHeaderBytesMax + kHttpBodyBytesMax);
  // The header apart: read together with it, a body that comes in the same packets may be of any
  // length (Beast 1.74 forgets that the header's Content-Length was beyond the limit).
  steps.run("receiving", [&](auto done) { http::async_read_header(stream, buffer, answer, done); });
  steps.run("receiving", [&](auto done) { http::async_read(stream, buffer, answer, done); });
  const auto& message = answer.get();
  if (message.result() != http::status::ok)
    throw Error("it answered " + std::to_string(message.result_int()) + ": " +
                quote(message.body()));
  if (message.body().size() > kHttpBodyBytesMax) throw Error("its answer is too long");
  return message.body();
}

// The server must prove that it is who we meant, by name or by address.
void expect_host(SSL* connection, const std::string& host) {
  error_code not_an_address;
  asio::ip::make_address(host, not_an_address);
  const bool set =
      not_an_address ? SSL_set1_host(connection, host.c_str()) == 1 &&
                           SSL_set_tlsext_host_name(connection, host.c_str()) == 1
                     : X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection), host.c_str()) == 1;
  if (!set) throw Error("OpenSSL does not take '" + host + "' as a server's name");
}

}  // namespace

std::string http_post(const HttpEndpoint& endpoint, const std::string& target,
                      const std::string& body, TimePoint deadline) {
  http::request<http::string_body> request(http::verb::post, target, 11);
  const bool ipv6_literal = endpoint.host.find(':') != std::string::npos;
  request.set(http::field::host, (ipv6_literal ? "[" + endpoint.host + "]" : endpoint.host) + ":" +
                                     std::to_string(endpoint.address.port()));
  request.set(http::field::content_type, "application/json");
  request.keep_alive(false);
  request.body() = body;
  request.prepare_payload();

  asio::io_context io(1);
  const auto connect = [&](Steps& steps, tcp::socket& socket) {
    steps.run("connecting", [&](auto done) { socket.async_connect(endpoint.address, done); });
  };
  if (!endpoint.tls) {
    tcp::socket socket(io);
    Steps steps(io, socket, deadline);
    connect(steps, socket);
    return exchange(socket, steps, request);
  }
  asio::ssl::stream<tcp::socket> stream(io, *endpoint.tls);
  expect_host(stream.native_handle(), endpoint.host);
  Steps steps(io, stream.next_layer(), deadline);
  connect(steps, stream.next_layer());
  steps.run("the TLS handshake",
            [&](auto done) { stream.async_handshake(asio::ssl::stream_base::client, done); });
  return exchange(stream, steps, request);
}

}  // namespace specrep::arbiter
