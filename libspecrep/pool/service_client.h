#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "libspecrep/clock.h"
#include "libspecrep/pool/service_tls.h"

namespace specrep::pool {

inline constexpr std::uint16_t kServicePort = 8467;

// Asks another host of the pool for a service and joins three descriptors to it, as ssh does with a
// command. Returns the service's exit status. Throws Error when the host cannot be reached, is not
// of the pool or does not take us for one of it, has no such service, or when the connection
// breaks.
struct ServiceRequest {
  std::string address;  // name or number
  std::uint16_t port = kServicePort;
  std::string service;
  TlsFiles tls;
  // Whether the host that answered, by its certificate, is the one that was meant.
  std::function<bool(const std::string& host)> is_expected;
  Duration timeout = std::chrono::seconds(10);  // until the connection stands
  // Descriptors, which the call closes.
  int in = -1, out = -1, err = -1;
};
int ask_service(ServiceRequest request);

}  // namespace specrep::pool
