#include "libspecrep/pool/service_tls.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <memory>
#include <optional>

#include "libspecrep/error.h"

namespace specrep::pool {

namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using boost::system::error_code;

constexpr int kIdleS = 5, kProbeIntervalS = 5, kProbes = 2;
constexpr unsigned kUnacknowledgedMs = 15'000;
constexpr std::size_t kNameBytesMax = 255;

// Empty: none.
std::string host_of(X509* certificate) {
  if (certificate == nullptr) return {};
  char name[kNameBytesMax + 1];
  const int length = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                               name, sizeof name);
  if (length <= 0) return {};
  const std::string text(name, static_cast<std::size_t>(length));
  // One with a zero in it is not what it looks like.
  return text.find('\0') == std::string::npos ? text : std::string();
}

}  // namespace

ssl::context make_pool_tls(const TlsFiles& files) {
  ssl::context context(ssl::context::tls);
  SSL_CTX* native = context.native_handle();
  if (SSL_CTX_set_min_proto_version(native, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_num_tickets(native, 0) != 1)
    throw Error("OpenSSL does not offer TLS 1.3", "look at the system's OpenSSL configuration");
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  context.set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
  const auto use = [](const std::string& file, auto load) {
    error_code error;
    load(error);
    if (error)
      throw Error("reading the pool's certificates: " + file + ": " + error.message(),
                  "`specrep-pool init` or `join` makes them");
  };
  use(files.ca, [&](error_code& e) { context.load_verify_file(files.ca, e); });
  use(files.cert, [&](error_code& e) { context.use_certificate_chain_file(files.cert, e); });
  use(files.key,
      [&](error_code& e) { context.use_private_key_file(files.key, ssl::context::pem, e); });
  return context;
}

bool shake_hands(asio::io_context& io, TlsStream& stream, ssl::stream_base::handshake_type side,
                 TimePoint deadline, std::string& error) {
  std::optional<error_code> result;
  stream.async_handshake(side, [&result](error_code e) { result = e; });
  io.restart();
  io.run_until(deadline);
  if (!result) {
    error_code ignored;
    stream.next_layer().close(ignored);
    io.restart();
    io.run();  // the handler refers to this frame
    result = asio::error::timed_out;
  }
  io.restart();
  error = result->message();
  return !*result;
}

std::string peer_host(TlsStream& stream) {
  return host_of(SSL_get0_peer_certificate(stream.native_handle()));
}

std::string certificate_host(const std::string& path) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> file(BIO_new_file(path.c_str(), "r"), &BIO_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      file ? PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr) : nullptr, &X509_free);
  const std::string host = host_of(certificate.get());
  if (host.empty())
    throw Error(path + " is not the certificate of a host of a pool",
                "`specrep-pool init` or `join` makes it");
  return host;
}

void set_keepalive(asio::ip::tcp::socket& socket) {
  const int fd = socket.native_handle();
  const auto set = [fd](int level, int option, auto value) {
    setsockopt(fd, level, option, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kIdleS);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kProbeIntervalS);
  set(IPPROTO_TCP, TCP_KEEPCNT, kProbes);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, kUnacknowledgedMs);
  set(IPPROTO_TCP, TCP_NODELAY, 1);
}

}  // namespace specrep::pool
