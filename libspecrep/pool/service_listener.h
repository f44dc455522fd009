#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/pool/service_client.h"

namespace specrep::pool {

// What a host offers to the other hosts of its pool, by name.
struct Service {
  // A program and its arguments, run anew for each connection, with the host's name in
  // SPECREP_PEER; or
  std::vector<std::string> command;
  // a unix socket that the connection is joined to.
  std::string socket;
};

// Listens for the other hosts of the pool, and joins each that comes to the service that it asks
// for. Whoever has no certificate of the pool, or one of a host that is not in it any more, is
// refused before anything is read from it.
//
// Each connection is a process of its own, forked off before anything is said: a bug that a peer
// finds ends that connection alone, certificates and pool.conf are those of the moment, and
// connections outlive the listener, which may be restarted while copies of guests hang on them.
// The process that calls this has a single thread.
class ServiceListener {
 public:
  struct Options {
    std::vector<std::string> addresses;  // numeric; none: all of this host
    std::uint16_t port = kServicePort;   // 0: any that is free
    TlsFiles tls;
    // By the name in its certificate. Called for each connection, in its own process.
    std::function<bool(const std::string& host)> is_member;
    std::map<std::string, Service> services;
  };
  // Throws Error when it cannot listen.
  explicit ServiceListener(Options options);
  ~ServiceListener();
  ServiceListener(const ServiceListener&) = delete;
  ServiceListener& operator=(const ServiceListener&) = delete;

  std::uint16_t port() const;

  // Takes what comes in, for this long or until a signal that `unblocked` lets through.
  void serve(Duration time, const sigset_t& unblocked);

 private:
  // `alive` is closed when the process has ended; before that a byte comes when the peer has shown
  // who it is.
  struct Connection {
    pid_t process;
    int alive;
    bool known;
  };

  void accept(int socket);
  void look_at(Connection& connection);
  void make_room();

  Options options_;
  std::vector<int> sockets_;
  std::vector<Connection> connections_;
};

}  // namespace specrep::pool
