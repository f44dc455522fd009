#pragma once

#include <utility>  // for Boost 1.74's Asio, which forgets it

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <memory>

#include "libspecrep/wire/tls_link.h"

// Not installed: what tls_link.cc and tls_rendezvous.cc share.
namespace specrep::wire {

using TlsStream = boost::asio::ssl::stream<boost::asio::ip::tcp::socket>;

// TLS 1.3 that knows one key and no certificates. Nothing but that key may authenticate: the
// server has no certificate to fall back to, the client trusts none, and authenticated() asks
// again when the handshake is done.
class TlsContext {
 public:
  explicit TlsContext(const PreSharedKey& key);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  std::unique_ptr<TlsStream> stream(boost::asio::ip::tcp::socket socket,
                                    boost::asio::ssl::stream_base::handshake_type side);

  static bool authenticated(TlsStream& stream);

 private:
  PreSharedKey key_;
  boost::asio::ssl::context context_;
};

}  // namespace specrep::wire
