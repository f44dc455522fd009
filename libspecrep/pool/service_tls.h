#pragma once

#include <utility>  // for Boost 1.74's Asio, which forgets it

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <string>

#include "libspecrep/clock.h"

// Not installed: what both ends of a service share.
namespace specrep::pool {

using TlsStream = boost::asio::ssl::stream<boost::asio::ip::tcp::socket>;

// PEM files, as specrep-pool makes them.
struct TlsFiles {
  std::string ca = "/etc/specrep/tls/ca.pem";  // who signed the certificates of the pool's hosts
  std::string cert = "/etc/specrep/tls/cert.pem";  // this host's
  std::string key = "/etc/specrep/tls/key.pem";
};

// TLS 1.3 in which each side must show a certificate that the pool's authority signed. Throws Error
// when a file cannot be used.
boost::asio::ssl::context make_pool_tls(const TlsFiles& files);

// For either side of a connection that is made: false when the handshake fails; `error` says why.
// `deadline` is for all of it.
bool shake_hands(boost::asio::io_context& io, TlsStream& stream,
                 boost::asio::ssl::stream_base::handshake_type side, TimePoint deadline,
                 std::string& error);

// Which host the peer's certificate is for: the common name of its subject. Empty: none.
std::string peer_host(TlsStream& stream);

// The same of a certificate in a file: which host this is. Throws Error.
std::string certificate_host(const std::string& path);

// A host that has lost its power, or a cut line, ends the connection within about 15 s, as the
// options that xl remus-spec gives to ssh do.
void set_keepalive(boost::asio::ip::tcp::socket& socket);

}  // namespace specrep::pool
