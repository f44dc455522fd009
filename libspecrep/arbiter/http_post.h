#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <cstddef>
#include <memory>
#include <string>

#include "libspecrep/clock.h"

namespace specrep::arbiter {

// One address of an HTTP server.
struct HttpEndpoint {
  std::string url;   // as given, for messages
  std::string host;  // name or address without brackets; what a certificate must be for
  boost::asio::ip::tcp::endpoint address;
  std::shared_ptr<boost::asio::ssl::context> tls;  // null: plain HTTP
};

// An answer's body above this is an Error.
constexpr std::size_t kHttpBodyBytesMax = 64 << 10;

// Posts JSON over a connection of its own and returns the body of the answer, whose status was
// 200. Throws Error, saying why but not with whom, on everything else, at the deadline at the
// latest.
std::string http_post(const HttpEndpoint& endpoint, const std::string& target,
                      const std::string& body, TimePoint deadline);

}  // namespace specrep::arbiter
