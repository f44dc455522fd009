// The arbiter in etcd: a real one, on loopback. Only peers that lie are played by the tests.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "arbiter_test.h"
#include "folder.h"
#include "ipv6.h"
#include "libspecrep/arbiter/arbiter.h"
#include "libspecrep/error.h"

namespace specrep {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr auto kPatience = 30s;

// Of its own for each test case.
std::string new_guest() {
  static int made = 100;
  return kGuest.substr(0, 33) + std::to_string(made++);
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A TCP socket of 127.0.0.1 that listens, or (with a port) is connected.
class Socket {
 public:
  Socket() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    auto address = loopback(0);
    BOOST_REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    BOOST_REQUIRE(listen(fd_, 16) == 0);
  }
  explicit Socket(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    auto address = loopback(port);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  struct Accepted {
    int fd;
  };
  explicit Socket(Accepted accepted) : fd_(accepted.fd) {}
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;

  int fd() const { return fd_; }
  bool connected() const { return connected_; }
  std::uint16_t port() const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }
  bool send(const std::string& text) const {
    return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  // Nothing at the end.
  std::string receive() const {
    std::string text(65536, '\0');
    const ssize_t got = recv(fd_, text.data(), text.size(), 0);
    text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return text;
  }

 private:
  const int fd_;
  bool connected_ = false;
};

std::uint16_t free_port() { return Socket().port(); }

std::string http(std::uint16_t port) { return "http://127.0.0.1:" + std::to_string(port); }

std::unique_ptr<Arbiter> arbiter_at(const std::string& urls, Duration timeout = kPatience) {
  return make_arbiter("etcd:" + urls, timeout);
}

// Whether it answers; not before it knows its leader.
bool answers(const std::string& url) {
  try {
    arbiter_at(url, 1s)->open(kGuest, "test");
    return true;
  } catch (const Error&) {
    return false;
  }
}

// A running etcd, member NUMBER of a cluster whose members talk at `peers`.
class Etcd {
 public:
  explicit Etcd(std::vector<std::string> more_options = {}, const std::string& scheme = "http",
                std::size_t number = 0, std::vector<std::uint16_t> peers = {free_port()})
      : port_(free_port()) {
    const std::string client = scheme + "://127.0.0.1:" + std::to_string(port_);
    std::string cluster;
    for (std::size_t i = 0; i < peers.size(); ++i)
      cluster += (i == 0 ? "m" : ",m") + std::to_string(i) + "=" + http(peers[i]);
    std::vector<std::string> words = {"etcd",
                                      "--name=m" + std::to_string(number),
                                      "--data-dir=" + (folder_.path / "data").string(),
                                      "--listen-client-urls=" + client,
                                      "--advertise-client-urls=" + client,
                                      "--listen-peer-urls=" + http(peers[number]),
                                      "--initial-advertise-peer-urls=" + http(peers[number]),
                                      "--initial-cluster=" + cluster,
                                      "--log-level=error"};
    words.insert(words.end(), more_options.begin(), more_options.end());
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string log = (folder_.path / "log").string();
    int failure[2];
    BOOST_REQUIRE(pipe2(failure, O_CLOEXEC) == 0);
    const pid_t parent = getpid();
    pid_ = fork();
    BOOST_REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);
      const int out = open(log.c_str(), O_WRONLY | O_CREAT, 0600);
      dup2(out, STDOUT_FILENO);
      dup2(out, STDERR_FILENO);
      execvp(argv[0], argv.data());
      if (write(failure[1], "", 1) < 0) _exit(1);
      _exit(1);
    }
    close(failure[1]);
    char byte;
    const bool missing = read(failure[0], &byte, 1) == 1;
    close(failure[0]);
    if (missing) {
      waitpid(std::exchange(pid_, -1), nullptr, 0);
      throw std::runtime_error("this test needs etcd: apt-get install etcd-server");
    }
  }
  ~Etcd() { stop(); }
  Etcd(const Etcd&) = delete;

  std::uint16_t port() const { return port_; }
  std::string url() const { return http(port_); }
  void signal(int number) const { kill(pid_, number); }
  void stop() {
    if (pid_ < 0) return;
    signal(SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }

  // Fails with what etcd had to say when it does not answer at this URL.
  void wait_until_it_answers(const std::string& url) {
    const TimePoint deadline = now() + kPatience;
    while (now() < deadline && waitpid(pid_, nullptr, WNOHANG) == 0) {
      if (answers(url)) return;
      std::this_thread::sleep_for(20ms);
    }
    std::ifstream log(folder_.path / "log");
    throw std::runtime_error("etcd does not start: " +
                             std::string(std::istreambuf_iterator<char>(log), {}));
  }

 private:
  Folder folder_;
  std::uint16_t port_;
  pid_t pid_ = -1;
};

// The one that most test cases use; it starts with the first.
Etcd& etcd() {
  static const auto one = [] {
    auto started = std::make_unique<Etcd>();
    started->wait_until_it_answers(started->url());
    return started;
  }();
  return *one;
}

// A stranger in etcd's place: does as it is told with each connection.
class Peer {
 public:
  // `request` is all of it.
  using Serve = std::function<void(const Socket& client, const std::string& request)>;

  explicit Peer(Serve serve) : thread_([this, serve] { run(serve); }) {}
  ~Peer() {
    ends_ = true;
    shutdown(socket_.fd(), SHUT_RDWR);
    thread_.join();
  }
  std::string url() const { return http(socket_.port()); }
  bool ends() const { return ends_; }

 private:
  void run(const Serve& serve) {
    for (;;) {
      const int fd = accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const Socket client(Socket::Accepted{fd});
      serve(client, read_request(client));
    }
  }

  static std::string read_request(const Socket& client) {
    std::string request;
    for (;;) {
      const auto part = client.receive();
      if (part.empty()) return request;
      request += part;
      const auto head = request.find("\r\n\r\n");
      const auto length = request.find("Content-Length: ");
      if (head != std::string::npos && length != std::string::npos &&
          request.size() >= head + 4 + std::stoul(request.substr(length + 16)))
        return request;
    }
  }

  Socket socket_;
  std::atomic<bool> ends_ = false;
  std::thread thread_;
};

bool is_txn(const std::string& request) { return request.starts_with("POST /v3/kv/txn "); }

std::string ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

Peer::Serve always(const std::string& answer) {
  return [answer](const Socket& client, const std::string&) { client.send(answer); };
}

std::string base64(const std::string& text) {
  std::string encoded((text.size() + 2) / 3 * 4 + 1, '\0');
  encoded.resize(static_cast<std::size_t>(EVP_EncodeBlock(
      reinterpret_cast<unsigned char*>(encoded.data()),
      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()))));
  return encoded;
}

const std::string kHeader = R"("header":{"cluster_id":"1","member_id":"1","revision":"7"})";

// What etcd says of a guest whose generation 5 nobody holds.
std::string good_range(const std::string& record = R"({"generation":5,"holder":""})",
                       const std::string& mod_revision = R"("7")") {
  return "{" + kHeader + R"(,"kvs":[{"key":")" + base64("/specrep/fence/" + kGuest) +
         R"(","create_revision":"2","mod_revision":)" + mod_revision +
         R"(,"version":"3","value":")" + base64(record) + R"("}],"count":"1"})";
}
const std::string kGoodTxn =
    "{" + kHeader + R"(,"succeeded":true,"responses":[{"response_put":{}}]})";

bool claim_from(const Peer::Serve& serve, Duration timeout = kPatience) {
  const Peer peer(serve);
  return arbiter_at(peer.url(), timeout)->claim(kGuest, 5, "primary");
}

void no_grant_from(const std::string& what, const Peer::Serve& serve,
                   Duration timeout = kPatience) {
  BOOST_TEST_CONTEXT(what) { BOOST_CHECK_EXCEPTION(claim_from(serve, timeout), Error, is_helpful); }
}

BOOST_AUTO_TEST_SUITE(arbiter_etcd)

BOOST_AUTO_TEST_CASE(generations_grow) {
  const auto arbiter = arbiter_at(etcd().url());
  const auto guest = new_guest();
  std::uint64_t last = 0;
  for (int i = 0; i < 10; ++i) {
    const auto next = arbiter->open(guest, "primary");
    BOOST_TEST(next > last);
    last = next;
  }
}

BOOST_AUTO_TEST_CASE(one_is_granted_again_and_again_and_the_other_never) {
  const auto primary = arbiter_at(etcd().url()), backup = arbiter_at(etcd().url());
  const auto guest = new_guest();
  const auto generation = primary->open(guest, "primary");
  for (int i = 0; i < 3; ++i) {
    BOOST_TEST(backup->claim(guest, generation, "backup"));
    BOOST_TEST(!primary->claim(guest, generation, "primary"));
  }
}

BOOST_AUTO_TEST_CASE(an_older_generation_is_refused_and_an_unknown_one_an_error) {
  const auto arbiter = arbiter_at(etcd().url());
  const auto guest = new_guest();
  const auto old = arbiter->open(guest, "primary");
  BOOST_TEST(arbiter->claim(guest, old, "primary"));
  const auto next = arbiter->open(guest, "primary");
  BOOST_TEST(!arbiter->claim(guest, old, "primary"));
  BOOST_TEST(!arbiter->claim(guest, old, "backup"));
  BOOST_CHECK_EXCEPTION((void)arbiter->claim(guest, next + 1, "backup"), Error, is_helpful);
  BOOST_CHECK_EXCEPTION((void)arbiter->claim(new_guest(), next, "backup"), Error, is_helpful);
  BOOST_TEST(arbiter->claim(guest, next, "backup"));
}

BOOST_AUTO_TEST_CASE(who_was_not_granted_the_guest_opens_no_generation) {
  const auto arbiter = arbiter_at(etcd().url());
  const auto guest = new_guest();
  const auto generation = arbiter->open(guest, "primary");
  BOOST_TEST(arbiter->claim(guest, generation, "backup"));
  BOOST_CHECK_EXCEPTION(arbiter->open(guest, "primary"), Error, is_helpful);
  BOOST_TEST(arbiter->open(guest, "backup") > generation);
}

BOOST_AUTO_TEST_CASE(of_two_at_once_one_is_granted) {
  const auto primary = arbiter_at(etcd().url()), backup = arbiter_at(etcd().url());
  const auto guest = new_guest();
  int primary_wins = 0;
  std::string holder = "primary";
  for (int round = 0; round < 50; ++round) {
    const auto generation = primary->open(guest, holder);
    std::atomic<int> ready = 0;
    const auto claim = [&](Arbiter& arbiter, const std::string& claimant, bool& granted) {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      granted = arbiter.claim(guest, generation, claimant);
    };
    bool one = false, two = false;
    std::thread first([&] { claim(*primary, "primary", one); });
    std::thread second([&] { claim(*backup, "backup", two); });
    first.join();
    second.join();
    BOOST_TEST(one != two);
    primary_wins += one;
    holder = one ? "primary" : "backup";
  }
  BOOST_TEST_MESSAGE("the primary won " << primary_wins << " of 50");
}

BOOST_AUTO_TEST_CASE(many_that_open_at_once_get_a_generation_each) {
  const auto arbiter = arbiter_at(etcd().url());
  const auto guest = new_guest();
  std::vector<std::uint64_t> opened(8);
  std::vector<std::thread> threads;
  for (auto& generation : opened)
    threads.emplace_back([&] { generation = arbiter->open(guest, "primary"); });
  for (auto& thread : threads) thread.join();
  std::sort(opened.begin(), opened.end());
  BOOST_TEST((std::adjacent_find(opened.begin(), opened.end()) == opened.end()));
}

BOOST_AUTO_TEST_CASE(endpoints_that_are_of_no_use_are_passed_over) {
  const Socket silent;  // accepts (the kernel does) and never answers
  const Peer garbage(always("garbage\r\n\r\n"));
  const auto arbiter = arbiter_at(http(free_port()) + "," + http(silent.port()) + "," +
                                      garbage.url() + "," + etcd().url() + "/",
                                  4s);
  const auto guest = new_guest();
  const auto begin = now();
  const auto generation = arbiter->open(guest, "primary");
  BOOST_TEST(milliseconds(now() - begin) < 4000);
  // From now on the good one is asked first.
  const auto again = now();
  BOOST_TEST(arbiter->claim(guest, generation, "primary"));
  BOOST_TEST(milliseconds(now() - again) < 1000);
}

BOOST_AUTO_TEST_CASE(no_answer_is_an_error_in_time) {
  const Socket silent, silent_too;
  const auto arbiter = arbiter_at(http(silent.port()) + "," + http(silent_too.port()), 500ms);
  const auto begin = now();
  BOOST_CHECK_EXCEPTION((void)arbiter->claim(kGuest, 5, "primary"), Error, is_helpful);
  BOOST_TEST(milliseconds(now() - begin) >= 400);
  BOOST_TEST(milliseconds(now() - begin) < 1500);
}

BOOST_AUTO_TEST_CASE(an_answer_that_comes_in_drops_is_an_error_in_time) {
  std::atomic<bool> ends = false;
  const Peer peer([&](const Socket& client, const std::string&) {
    for (const char c : ok(good_range())) {
      if (ends || !client.send(std::string(1, c))) return;
      std::this_thread::sleep_for(20ms);
    }
  });
  const auto begin = now();
  BOOST_CHECK_EXCEPTION((void)arbiter_at(peer.url(), 500ms)->claim(kGuest, 5, "primary"), Error,
                        is_helpful);
  BOOST_TEST(milliseconds(now() - begin) < 1500);
  ends = true;
}

BOOST_AUTO_TEST_CASE(an_etcd_that_was_killed_is_an_error) {
  Etcd doomed;
  doomed.wait_until_it_answers(doomed.url());
  const auto arbiter = arbiter_at(doomed.url(), 5s);
  const auto generation = arbiter->open(kGuest, "test");
  doomed.stop();
  BOOST_CHECK_EXCEPTION((void)arbiter->claim(kGuest, generation, "test"), Error, is_helpful);
  BOOST_CHECK_EXCEPTION(arbiter->open(kGuest, "test"), Error, is_helpful);
}

// What a member that was cut off from the others knows may be long out of date.
BOOST_AUTO_TEST_CASE(a_member_without_a_majority_grants_nothing) {
  const std::vector<std::uint16_t> peers = {free_port(), free_port()};
  Etcd alone({}, "http", 0, peers), other({}, "http", 1, peers);
  alone.wait_until_it_answers(alone.url());
  const auto arbiter = arbiter_at(alone.url());
  const auto generation = arbiter->open(kGuest, "test");
  other.signal(SIGSTOP);
  const auto begin = now();
  BOOST_CHECK_EXCEPTION((void)arbiter_at(alone.url(), 1s)->claim(kGuest, generation, "test"), Error,
                        is_helpful);
  BOOST_TEST(milliseconds(now() - begin) < 2000);
  other.signal(SIGCONT);
  alone.wait_until_it_answers(alone.url());
}

// A go-between that carries every request to etcd, and a transaction's answer not back.
Peer::Serve losing_answers(std::atomic<int>& lost) {
  return [&lost](const Socket& client, const std::string& request) {
    const Socket server(etcd().port());
    server.send(request);
    std::string answer;
    for (auto part = server.receive(); !part.empty(); part = server.receive()) answer += part;
    if (is_txn(request)) {
      ++lost;
      return;
    }
    client.send(answer);
  };
}

BOOST_AUTO_TEST_CASE(a_claim_whose_answer_was_lost_is_granted_when_repeated) {
  const auto direct = arbiter_at(etcd().url());
  const auto guest = new_guest();
  const auto generation = direct->open(guest, "primary");
  std::atomic<int> lost = 0;
  const Peer between(losing_answers(lost));
  BOOST_CHECK_EXCEPTION((void)arbiter_at(between.url())->claim(guest, generation, "primary"), Error,
                        is_helpful);
  BOOST_TEST(lost == 1);
  BOOST_TEST(!direct->claim(guest, generation, "backup"));
  BOOST_TEST(direct->claim(guest, generation, "primary"));
}

BOOST_AUTO_TEST_CASE(an_answer_that_was_lost_is_had_from_the_next_endpoint) {
  const auto guest = new_guest();
  std::atomic<int> lost = 0;
  const Peer between(losing_answers(lost));
  const auto arbiter = arbiter_at(between.url() + "," + etcd().url());
  const auto generation = arbiter->open(guest, "primary");
  BOOST_TEST(lost == 1);
  BOOST_TEST(arbiter_at(between.url() + "," + etcd().url())->claim(guest, generation, "primary"));
  BOOST_TEST(lost == 2);
  BOOST_TEST(!arbiter->claim(guest, generation, "backup"));
}

BOOST_AUTO_TEST_CASE(a_damaged_record_is_an_error_and_no_grant) {
  no_grant_from("empty", always(ok(good_range(""))));
  no_grant_from("cut off", always(ok(good_range(R"({"generation":5,"hol)"))));
  no_grant_from("another type", always(ok(good_range(R"({"generation":"5","holder":""})"))));
  no_grant_from("long",
                always(ok(good_range(R"({"generation":5,"holder":""})" + std::string(5000, ' ')))));
}

BOOST_AUTO_TEST_CASE(garbage_is_an_error_and_no_grant) {
  // That the peer's good answers are believed, so that it is the bad ones that are not.
  const auto good = [](const std::string& range, const std::string& txn) {
    return [=](const Socket& client, const std::string& request) {
      client.send(ok(is_txn(request) ? txn : range));
    };
  };
  BOOST_TEST(claim_from(good(good_range(), kGoodTxn)));

  no_grant_from("closes at once", always(""));
  no_grant_from("no HTTP", always("hello\r\n\r\n"));
  no_grant_from("another protocol", always(std::string("\x15\x03\x03\x00\x02\x02\x28", 7)));
  for (const std::string status : {"500 Internal Server Error", "404 Not Found", "301 Moved",
                                   "100 Continue", "204 No Content", "201 Created"}) {
    auto answer = ok(good_range());
    no_grant_from(status, always(answer.replace(9, 6, status)));
  }
  no_grant_from("no JSON", always(ok("hello")));
  no_grant_from("no body", always(ok("")));
  for (const std::string body : {"null", "true", "[]", "{}", "\"\"", R"({"header":null})",
                                 R"({"header":{}})", R"({"succeeded":true})"})
    no_grant_from(body, always(ok(body)));
  no_grant_from("deep JSON", always(ok(std::string(60000, '['))));

  const auto whole = ok(good_range());
  for (const std::size_t left_out : {1u, 10u, 100u, 200u})
    no_grant_from("truncated", always(whole.substr(0, whole.size() - left_out)));
  for (const std::size_t size : {65536, 1 << 20}) BOOST_TEST_CONTEXT("huge body") {
      BOOST_CHECK_EXCEPTION(claim_from(always(ok(good_range() + std::string(size, ' ')))), Error,
                            [](const Error& e) {
                              return is_helpful(e) && std::strstr(e.what(), "limit") != nullptr;
                            });
    }
  no_grant_from("huge body to the end",
                always("HTTP/1.1 200 OK\r\n\r\n" + good_range() + std::string(1 << 20, ' ')));
  no_grant_from("endless body", [](const Socket& client, const std::string&) {
    client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (client.send("1000\r\n" + std::string(4096, ' ') + "\r\n")) {
    }
  });
  no_grant_from("endless header", [](const Socket& client, const std::string&) {
    client.send("HTTP/1.1 200 OK\r\n");
    while (client.send("X-More: " + std::string(1000, 'x') + "\r\n")) {
    }
  });

  const auto replaced = [](std::string text, const std::string& what, const std::string& by) {
    return text.replace(text.find(what), what.size(), by);
  };
  const std::string key = base64("/specrep/fence/" + kGuest);
  const std::string value = base64(R"({"generation":5,"holder":""})");
  const std::string deep = std::string(30000, '[') + std::string(30000, ']');
  for (const std::string& range :
       {replaced(good_range(), key, base64("/specrep/fence/other")),
        replaced(good_range(), "\"" + key + "\"", "1"), replaced(good_range(), "key", "kex"),
        replaced(good_range(), value, "*" + value.substr(1)),
        replaced(good_range(), value, value.substr(1)),
        replaced(good_range(), "\"" + value + "\"", "{}"), replaced(good_range(), "value", "valux"),
        replaced(good_range(), "kvs", "kvx"), replaced(good_range(), "[", "[1,"),
        replaced(good_range(), "\"" + key + "\"", deep),
        replaced(good_range(), "\"" + value + "\"", deep),
        replaced(good_range(), "kvs\":[", "kvs\":[],\"x\":["),
        good_range(R"({"generation":5,"holder":""})", "7"),
        good_range(R"({"generation":5,"holder":""})", "\"0\""),
        good_range(R"({"generation":5,"holder":""})", "\"-7\""),
        good_range(R"({"generation":5,"holder":""})", "\"\""),
        good_range(R"({"generation":5,"holder":""})", "null"),
        good_range(R"({"generation":4,"holder":""})"), "{" + kHeader + "}"})
    no_grant_from(range, good(range, kGoodTxn));

  for (const std::string& txn :
       {std::string("{}"), good_range(), replaced(kGoodTxn, "true", "1"),
        replaced(kGoodTxn, "true", "\"true\""),
        replaced(kGoodTxn, "response_put", "response_range"),
        replaced(kGoodTxn, "responses", "requests"), replaced(kGoodTxn, "[", "[1,"),
        replaced(kGoodTxn, "header", "headers"), replaced(kGoodTxn, "true", deep),
        "{" + kHeader + R"(,"succeeded":true,"responses":)" + deep + "}"})
    no_grant_from(txn, good(good_range(), txn), 500ms);
  // Always another that came first.
  no_grant_from("false", good(good_range(), replaced(kGoodTxn, "true", "false")), 300ms);
}

BOOST_AUTO_TEST_CASE(over_ipv6) {
  if (!has_ipv6_loopback()) return;
  const auto port = std::to_string(free_port());
  Etcd six({"--listen-client-urls=http://[::1]:" + port,
            "--advertise-client-urls=http://[::1]:" + port});
  six.wait_until_it_answers("http://[::1]:" + port);
}

// A certificate for 127.0.0.1 that is its own authority, and its key.
void write_certificate(const fs::path& cert_file, const fs::path& key_file) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> cert(X509_new(), X509_free);
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), 3600);
  X509_set_pubkey(cert.get(), key.get());
  X509_NAME* const name = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("specrep test"), -1, -1, 0);
  X509_set_issuer_name(cert.get(), name);
  X509V3_CTX context;
  X509V3_set_ctx(&context, cert.get(), cert.get(), nullptr, nullptr, 0);
  for (const auto& [nid, value] : {std::pair{NID_basic_constraints, "critical,CA:TRUE"},
                                   {NID_subject_alt_name, "IP:127.0.0.1"},
                                   {NID_ext_key_usage, "serverAuth,clientAuth"}}) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    BOOST_REQUIRE(extension != nullptr);
    X509_add_ext(cert.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  BOOST_REQUIRE(X509_sign(cert.get(), key.get(), EVP_sha256()) > 0);
  const auto write = [](const fs::path& path, const std::function<int(std::FILE*)>& put) {
    std::FILE* const file = std::fopen(path.c_str(), "w");
    BOOST_REQUIRE(file != nullptr);
    BOOST_TEST(put(file) == 1);
    std::fclose(file);
  };
  write(cert_file, [&](std::FILE* file) { return PEM_write_X509(file, cert.get()); });
  write(key_file, [&](std::FILE* file) {
    return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
}

BOOST_AUTO_TEST_CASE(over_tls_both_sides_show_their_certificates) {
  const Folder folder;
  const auto file = [&](const std::string& name) { return (folder.path / name).string(); };
  write_certificate(file("cert"), file("key"));
  write_certificate(file("other-cert"), file("other-key"));
  Etcd secure({"--cert-file=" + file("cert"), "--key-file=" + file("key"),
               "--trusted-ca-file=" + file("cert"), "--client-cert-auth"},
              "https");
  const std::string port = std::to_string(secure.port());
  const std::string url = "https://127.0.0.1:" + port;
  const std::string files =
      "?cacert=" + file("cert") + "&cert=" + file("cert") + "&key=" + file("key");
  secure.wait_until_it_answers(url + files);
  const auto arbiter = arbiter_at(url + files);
  const auto generation = arbiter->open(kGuest, "test");
  BOOST_TEST(arbiter->claim(kGuest, generation, "test"));

  for (const std::string& wrong :
       {url + "?cacert=" + file("cert"), url,
        url + "?cacert=" + file("other-cert") + "&cert=" + file("cert") + "&key=" + file("key"),
        url + "?cacert=" + file("cert") + "&cert=" + file("other-cert") +
            "&key=" + file("other-key"),
        "https://localhost:" + port + files, "http://127.0.0.1:" + port})
    BOOST_TEST_CONTEXT(wrong) {
      BOOST_CHECK_EXCEPTION((void)arbiter_at(wrong, 3s)->claim(kGuest, generation, "test"), Error,
                            is_helpful);
    }
  for (const std::string& wrong :
       {url + "?cacert=" + file("missing"), url + "?cacert=" + file("key"),
        url + "?cert=" + file("cert"), url + "?cert=" + file("cert") + "&key=" + file("other-key")})
    BOOST_TEST_CONTEXT(wrong) { BOOST_CHECK_EXCEPTION(arbiter_at(wrong), Error, is_helpful); }
}

// Whether a server that has no newer TLS than this comes to terms with us.
bool shake_hands(int newest_tls, const Folder& folder) {
  const auto file = [&](const std::string& name) { return (folder.path / name).string(); };
  const Socket listener;
  bool shook = false;
  std::thread server([&] {
    const Socket socket(Socket::Accepted{accept(listener.fd(), nullptr, nullptr)});
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(
        SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
    SSL_CTX_set_max_proto_version(context.get(), newest_tls);
    SSL_CTX_use_certificate_file(context.get(), file("cert").c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(context.get(), file("key").c_str(), SSL_FILETYPE_PEM);
    const std::unique_ptr<SSL, decltype(&SSL_free)> connection(SSL_new(context.get()), SSL_free);
    SSL_set_fd(connection.get(), socket.fd());
    shook = SSL_accept(connection.get()) == 1;
  });
  const auto arbiter = arbiter_at(
      "https://127.0.0.1:" + std::to_string(listener.port()) + "?cacert=" + file("cert"), 10s);
  BOOST_CHECK_EXCEPTION((void)arbiter->claim(kGuest, 1, "test"), Error, is_helpful);
  server.join();
  return shook;
}

BOOST_AUTO_TEST_CASE(an_older_tls_is_refused) {
  const Folder folder;
  write_certificate(folder.path / "cert", folder.path / "key");
  BOOST_TEST(shake_hands(TLS1_3_VERSION, folder));
  BOOST_TEST(!shake_hands(TLS1_2_VERSION, folder));
}

BOOST_AUTO_TEST_CASE(bad_urls_are_errors) {
  for (const std::string url : {"",
                                "127.0.0.1:2379",
                                "ftp://127.0.0.1",
                                "http://",
                                "http://:2379",
                                "http://127.0.0.1:",
                                "http://127.0.0.1:0",
                                "http://127.0.0.1:65536",
                                "http://127.0.0.1:1x",
                                "http://[::1",
                                "http://[::1]2379",
                                "http://127.0.0.1:2379,",
                                ",http://127.0.0.1:2379",
                                "http://user@127.0.0.1",
                                "http://127.0.0.1/path",
                                "http://127.0.0.1?cacert=/etc/ssl",
                                "https://127.0.0.1?",
                                "https://127.0.0.1?ca=/file",
                                "https://127.0.0.1?cacert=",
                                "http://no-such-host.invalid",
                                "http://::1:2379"})
    BOOST_TEST_CONTEXT(url) { BOOST_CHECK_EXCEPTION(arbiter_at(url), Error, is_helpful); }
  BOOST_CHECK_NO_THROW(arbiter_at("http://127.0.0.1,http://[::1],http://[::1]:1/"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep
