#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "libspecrep/wire/link.h"

namespace specrep::wire {

// The key of one data link: made by the primary's side for each protection, carried to the
// backup over ssh, never written to disk, a log or a command line.
using PreSharedKey = std::array<unsigned char, 32>;
PreSharedKey make_pre_shared_key();

// The data link: TCP with TLS 1.3 and an external pre-shared key (RFC 8446, 2.2), on a thread
// of its own, so that heartbeats go out and come in whatever the caller's thread does.
// The destructor sends what is queued for at most a second, then closes.
class TlsLink final : public Link {
 public:
  // Connects to the first address that answers, within `timeout`, and exchanges Hello.
  // Throws Error that names the addresses, or what negotiate() throws.
  static std::unique_ptr<TlsLink> connect(const std::vector<std::string>& addresses,
                                          std::uint16_t port, const PreSharedKey& key,
                                          Duration heartbeat_interval, Duration timeout);
  ~TlsLink() override;

  void send(Message message) override;
  std::size_t queued_bytes() const override;
  TimePoint last_heard() const override;
  Event wait(TimePoint deadline) override;

  void wake() override;

  const Negotiated& peer() const;

  struct Impl;
  explicit TlsLink(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

// Waits for the one connection that knows the key. Connections that do not are dropped and
// waiting goes on.
class TlsListener {
 public:
  // Listens on an ephemeral port of all addresses, IPv6 and IPv4.
  explicit TlsListener(const PreSharedKey& key);
  ~TlsListener();

  std::uint16_t port() const;

  // To be called once: from then on nobody listens any more. Throws Error after `timeout`, or what
  // negotiate() throws.
  std::unique_ptr<TlsLink> accept(Duration heartbeat_interval, Duration timeout);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace specrep::wire
