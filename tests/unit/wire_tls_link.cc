// The data link over loopback.
#include "libspecrep/wire/tls_link.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <future>
#include <thread>

#include "ipv6.h"

namespace specrep::wire {
namespace {

using namespace std::chrono_literals;

constexpr auto kHeartbeat = 10ms;
constexpr auto kPatience = 5s;

TimePoint now() { return std::chrono::steady_clock::now(); }

auto says(const std::string& part) {
  return [part](const Error& e) {
    BOOST_TEST_MESSAGE(e.what());
    return std::strstr(e.what(), part.c_str()) != nullptr;
  };
}

using LinkPtr = std::unique_ptr<TlsLink>;

struct Pair {
  explicit Pair(Duration heartbeat = kHeartbeat, const std::string& address = "127.0.0.1") {
    const auto key = make_pre_shared_key();
    TlsListener listener(key);
    auto accepted =
        std::async(std::launch::async, [&] { return listener.accept(heartbeat, kPatience); });
    near = TlsLink::connect({address}, listener.port(), key, heartbeat, kPatience);
    far = accepted.get();
  }
  LinkPtr near;
  LinkPtr far;
};

Message stop(const std::string& reason, std::size_t payload_bytes = 0) {
  Message message;
  message.envelope.mutable_stop()->set_reason(reason);
  message.payload.resize(payload_bytes);
  // Cheap, and every 8 bytes differ.
  for (std::size_t i = 0; i + 8 <= payload_bytes; i += 8)
    std::memcpy(message.payload.data() + i, &i, sizeof i);
  return message;
}

std::string next_reason(TlsLink& link) {
  const auto event = link.wait(now() + kPatience);
  if (event.closed) return "closed: " + *event.closed;
  return event.message ? event.message->envelope.stop().reason() : "nothing";
}

// A TCP client of 127.0.0.1, without TLS.
struct PlainClient {
  explicit PlainClient(std::uint16_t port) : fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    BOOST_REQUIRE_EQUAL(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~PlainClient() { close(fd); }
  int fd;
};

BOOST_AUTO_TEST_SUITE(wire_tls_link)

BOOST_AUTO_TEST_CASE(keys_differ) { BOOST_TEST((make_pre_shared_key() != make_pre_shared_key())); }

BOOST_AUTO_TEST_CASE(messages_both_ways_in_order) {
  Pair pair;
  for (int i = 0; i < 1000; ++i) {
    pair.near->send(stop(std::to_string(i), static_cast<std::size_t>(i)));
    pair.far->send(stop(std::to_string(-i)));
  }
  for (int i = 0; i < 1000; ++i) {
    const auto event = pair.far->wait(now() + kPatience);
    BOOST_REQUIRE(event.message);
    BOOST_REQUIRE_EQUAL(event.message->envelope.stop().reason(), std::to_string(i));
    BOOST_REQUIRE((event.message->payload == stop("", static_cast<std::size_t>(i)).payload));
    BOOST_REQUIRE_EQUAL(next_reason(*pair.near), std::to_string(-i));
  }
  BOOST_TEST(pair.near->peer().protocol == kProtocolMax);
  BOOST_TEST(pair.far->peer().peer.find("(specrep ") != std::string::npos);
}

// A child that had one would keep the connection open when this process is killed.
BOOST_AUTO_TEST_CASE(no_child_inherits_a_socket) {
  const Pair pair;
  int sockets = 0;
  for (int fd = 3; fd < 1024; ++fd) {
    struct stat status {};
    if (fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode)) continue;
    ++sockets;
    BOOST_TEST((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0, "descriptor " << fd);
  }
  BOOST_TEST(sockets >= 2);
}

BOOST_AUTO_TEST_CASE(nobody_listens_once_the_peer_has_come) {
  const auto key = make_pre_shared_key();
  TlsListener listener(key);
  auto accepted =
      std::async(std::launch::async, [&] { return listener.accept(kHeartbeat, kPatience); });
  const auto near = TlsLink::connect({"127.0.0.1"}, listener.port(), key, kHeartbeat, kPatience);
  const auto far = accepted.get();
  BOOST_CHECK_EXCEPTION(
      TlsLink::connect({"127.0.0.1"}, listener.port(), key, kHeartbeat, kPatience), Error,
      says("refused"));
}

BOOST_AUTO_TEST_CASE(over_ipv6) {
  if (!has_ipv6_loopback()) return;
  Pair pair(kHeartbeat, "::1");
  pair.near->send(stop("six"));
  BOOST_TEST(next_reason(*pair.far) == "six");
}

BOOST_AUTO_TEST_CASE(heartbeats_keep_a_silent_link_fresh) {
  Pair pair;
  for (int i = 0; i < 20; ++i) {
    const auto event = pair.near->wait(now() + 20ms);
    BOOST_REQUIRE(!event.message);
    BOOST_REQUIRE(!event.closed);
    // Generous, for busy machines; without heartbeats it would be 400 ms in the end.
    BOOST_TEST((now() - pair.near->last_heard() < 200ms));
    BOOST_TEST((now() - pair.far->last_heard() < 200ms));
  }
}

BOOST_AUTO_TEST_CASE(without_heartbeats_a_silent_link_grows_stale) {
  Pair pair(1h);
  std::this_thread::sleep_for(300ms);
  BOOST_TEST((now() - pair.near->last_heard() > 200ms));
}

BOOST_AUTO_TEST_CASE(a_long_queue_does_not_keep_heartbeats_from_coming_in) {
  Pair pair(20ms);
  // Nobody takes them at the far side; the near side's queue is long.
  for (int i = 0; i < 100; ++i) pair.near->send(stop("", 1 << 20));
  BOOST_TEST(pair.near->queued_bytes() > 0);
  std::this_thread::sleep_for(200ms);
  BOOST_TEST((now() - pair.near->last_heard() < 200ms));
  for (int i = 0; i < 100; ++i) BOOST_REQUIRE(pair.far->wait(now() + kPatience).message);
}

BOOST_AUTO_TEST_CASE(wrong_key_is_refused_and_the_right_one_still_accepted) {
  const auto key = make_pre_shared_key();
  TlsListener listener(key);
  auto accepted =
      std::async(std::launch::async, [&] { return listener.accept(kHeartbeat, kPatience); });
  BOOST_CHECK_EXCEPTION(TlsLink::connect({"127.0.0.1"}, listener.port(), make_pre_shared_key(),
                                         kHeartbeat, kPatience),
                        Error, says("127.0.0.1: the TLS handshake failed"));
  const auto near = TlsLink::connect({"127.0.0.1"}, listener.port(), key, kHeartbeat, kPatience);
  near->send(stop("right"));
  BOOST_TEST(next_reason(*accepted.get()) == "right");
}

BOOST_AUTO_TEST_CASE(strangers_that_say_nothing_or_nonsense_do_not_block) {
  const auto key = make_pre_shared_key();
  TlsListener listener(key);
  std::vector<std::unique_ptr<PlainClient>> strangers;
  for (int i = 0; i < 5; ++i) {
    strangers.push_back(std::make_unique<PlainClient>(listener.port()));
    if (i % 2) BOOST_REQUIRE_EQUAL(write(strangers.back()->fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
  }
  auto accepted =
      std::async(std::launch::async, [&] { return listener.accept(kHeartbeat, kPatience); });
  const auto before = now();
  const auto near = TlsLink::connect({"127.0.0.1"}, listener.port(), key, kHeartbeat, kPatience);
  near->send(stop("through"));
  BOOST_TEST(next_reason(*accepted.get()) == "through");
  BOOST_TEST((now() - before < 3s));
}

struct SslFree {
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
  void operator()(SSL* p) const { SSL_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(X509* p) const { X509_free(p); }
};

BOOST_AUTO_TEST_CASE(tls_client_without_a_key_is_refused) {
  TlsListener listener(make_pre_shared_key());
  auto accepted =
      std::async(std::launch::async, [&] { return listener.accept(kHeartbeat, 500ms); });
  std::unique_ptr<SSL_CTX, SslFree> context(SSL_CTX_new(TLS_client_method()));
  std::unique_ptr<SSL, SslFree> connection(SSL_new(context.get()));
  PlainClient client(listener.port());
  SSL_set_fd(connection.get(), client.fd);
  BOOST_TEST(SSL_connect(connection.get()) != 1);
  BOOST_CHECK_EXCEPTION(accepted.get(), Error, says("nobody"));
}

// Whoever sits between the hosts can present a certificate instead of knowing the key.
BOOST_AUTO_TEST_CASE(server_with_a_certificate_instead_of_the_key_is_refused) {
  std::unique_ptr<EVP_PKEY, SslFree> key(EVP_EC_gen("P-256"));
  std::unique_ptr<X509, SslFree> certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  BOOST_REQUIRE(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
  std::unique_ptr<SSL_CTX, SslFree> context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_use_certificate(context.get(), certificate.get());
  SSL_CTX_use_PrivateKey(context.get(), key.get());

  const int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  BOOST_REQUIRE_EQUAL(bind(listening, reinterpret_cast<sockaddr*>(&address), length), 0);
  BOOST_REQUIRE_EQUAL(listen(listening, 1), 0);
  getsockname(listening, reinterpret_cast<sockaddr*>(&address), &length);
  std::thread server([&] {
    const int fd = accept(listening, nullptr, nullptr);
    std::unique_ptr<SSL, SslFree> connection(SSL_new(context.get()));
    SSL_set_fd(connection.get(), fd);
    SSL_accept(connection.get());
    close(fd);
  });
  BOOST_CHECK_EXCEPTION(TlsLink::connect({"127.0.0.1"}, ntohs(address.sin_port),
                                         make_pre_shared_key(), kHeartbeat, kPatience),
                        Error, says("certificate verify failed"));
  server.join();
  close(listening);
}

BOOST_AUTO_TEST_CASE(nobody_connects) {
  TlsListener listener(make_pre_shared_key());
  BOOST_CHECK_EXCEPTION(listener.accept(kHeartbeat, 50ms), Error, says("nobody"));
}

BOOST_AUTO_TEST_CASE(nobody_listens) {
  std::uint16_t port;
  {
    TlsListener listener(make_pre_shared_key());
    port = listener.port();
  }
  BOOST_CHECK_EXCEPTION(TlsLink::connect({"127.0.0.1", "localhost"}, port, make_pre_shared_key(),
                                         kHeartbeat, kPatience),
                        Error, says("127.0.0.1: Connection refused"));
}

BOOST_AUTO_TEST_CASE(listener_that_never_answers) {
  const auto key = make_pre_shared_key();
  TlsListener listener(key);  // the kernel completes the connection, nobody accepts it
  const auto before = now();
  BOOST_CHECK_EXCEPTION(TlsLink::connect({"127.0.0.1"}, listener.port(), key, kHeartbeat, 100ms),
                        Error, says("timed out"));
  BOOST_TEST((now() - before < 2s));
}

BOOST_AUTO_TEST_CASE(second_address_is_tried) {
  const auto key = make_pre_shared_key();
  TlsListener listener(key);
  auto accepted =
      std::async(std::launch::async, [&] { return listener.accept(kHeartbeat, kPatience); });
  // 240.0.0.0/4 is reserved: nobody is there.
  const auto near =
      TlsLink::connect({"240.0.0.1", "127.0.0.1"}, listener.port(), key, kHeartbeat, 2s);
  near->send(stop("second"));
  BOOST_TEST(next_reason(*accepted.get()) == "second");
}

BOOST_AUTO_TEST_CASE(what_was_sent_before_the_end_arrives_and_then_the_end) {
  Pair pair;
  for (int i = 0; i < 20; ++i) pair.near->send(stop("big", 100'000));
  pair.near->send(stop("last"));
  // Heartbeats and this cross the close: they must not reset it.
  for (int i = 0; i < 20; ++i) pair.far->send(stop("crossing", 100'000));
  pair.near.reset();
  for (int i = 0; i < 20; ++i) BOOST_REQUIRE_EQUAL(next_reason(*pair.far), "big");
  BOOST_TEST(next_reason(*pair.far) == "last");
  const auto event = pair.far->wait(now() + kPatience);
  BOOST_REQUIRE(event.closed);
  BOOST_TEST(event.closed->find("127.0.0.1") != std::string::npos);
  BOOST_REQUIRE(pair.far->wait(now()).closed);  // and again
  pair.far->send(stop("into the void"));
  BOOST_TEST(pair.far->queued_bytes() == 0);
}

BOOST_AUTO_TEST_CASE(destructor_waits_at_most_a_second_for_a_peer_that_does_not_read) {
  Pair pair;
  for (int i = 0; i < 60; ++i) pair.near->send(stop("", 1 << 20));
  const auto before = now();
  pair.near.reset();
  BOOST_TEST((now() - before < 2s));
}

BOOST_AUTO_TEST_CASE(slow_consumer_slows_the_sender_and_does_not_look_dead) {
  Pair pair;
  constexpr std::size_t kSent = 96 << 20;
  for (std::size_t i = 0; i < kSent >> 20; ++i) pair.near->send(stop(std::to_string(i), 1 << 20));
  // Until nothing moves any more.
  std::size_t queued = pair.near->queued_bytes();
  for (int still = 0; still < 5;) {
    std::this_thread::sleep_for(50ms);
    const auto before = std::exchange(queued, pair.near->queued_bytes());
    still = queued == before ? still + 1 : 0;
  }
  // 8 MiB and a message in the inbox, the rest in the kernel's socket buffers.
  BOOST_TEST(queued > kSent / 2);
  BOOST_TEST((now() - pair.far->last_heard() < 100ms));
  BOOST_TEST((now() - pair.near->last_heard() < 200ms));
  for (std::size_t i = 0; i < kSent >> 20; ++i)
    BOOST_REQUIRE_EQUAL(next_reason(*pair.far), std::to_string(i));
  BOOST_TEST(!pair.far->wait(now() + 50ms).message);
  BOOST_TEST((now() - pair.far->last_heard() < 200ms));
  // A heartbeat may be on its way at this very moment.
  BOOST_TEST(pair.near->queued_bytes() < 100u);
}

// Empty strings have two bytes on the wire, and some forty in memory.
BOOST_AUTO_TEST_CASE(what_is_not_taken_is_bounded_by_its_size_in_memory) {
  const auto allocated = [] {
    const auto info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  Pair pair;
  const std::size_t before = allocated();
  for (int i = 0; i < 150; ++i) {
    Message message;
    for (int n = 0; n < 30'000; ++n) message.envelope.mutable_listening()->add_addresses();
    pair.near->send(std::move(message));
  }
  std::size_t queued = 0;
  do {
    queued = pair.near->queued_bytes();
    std::this_thread::sleep_for(200ms);
  } while (pair.near->queued_bytes() != queued);
  // Beside what the sender has, 9 MB.
  BOOST_TEST(allocated() < before + (32 << 20));
}

BOOST_AUTO_TEST_CASE(largest_message_arrives_intact) {
  Pair pair;
  const auto big = stop("big", kPayloadBytesMax);
  const auto before = now();
  pair.near->send(big);
  const auto event = pair.far->wait(now() + kPatience);
  BOOST_REQUIRE(event.message);
  BOOST_TEST_MESSAGE("64 MiB in " << milliseconds(now() - before) << " ms");
  BOOST_TEST((event.message->payload == big.payload));
  BOOST_TEST(event.message->envelope.payload_bytes() == kPayloadBytesMax);
}

BOOST_AUTO_TEST_CASE(wake_ends_a_wait_once) {
  Pair pair;
  pair.near->wake();
  auto event = pair.near->wait(now() + kPatience);
  BOOST_TEST(!event.message);
  BOOST_TEST(!event.closed);
  const auto before = now();
  std::thread waker([&] {
    std::this_thread::sleep_for(50ms);
    pair.near->wake();
  });
  pair.near->wait(now() + kPatience);
  BOOST_TEST((now() - before < 2s));
  waker.join();
  pair.far->send(stop("after"));
  BOOST_TEST(next_reason(*pair.near) == "after");
}

BOOST_AUTO_TEST_CASE(too_large_to_send_is_said_to_the_sender) {
  Pair pair;
  BOOST_CHECK_THROW(pair.near->send(stop("", kPayloadBytesMax + 8)), ProtocolError);
  pair.near->send(stop("still alive"));
  BOOST_TEST(next_reason(*pair.far) == "still alive");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::wire
