// Services between the hosts of a pool: listener and client over TLS, with throw-away certificates.

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>  // for Boost 1.74's Asio, which forgets it

#include <boost/asio.hpp>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "libspecrep/error.h"
#include "libspecrep/pool/service_client.h"
#include "libspecrep/pool/service_listener.h"

namespace {

using namespace specrep;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

// An authority, and what it signs.
class Authority {
 public:
  Authority() : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
    fill(certificate_, "test pool", key_, true);
    X509_set_issuer_name(certificate_, X509_get_subject_name(certificate_));
    X509_sign(certificate_, key_, EVP_sha256());
  }
  ~Authority() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }

  // Three files in a new folder.
  pool::TlsFiles issue(const fs::path& folder, const std::string& host) const {
    fs::create_directories(folder);
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    fill(certificate, host, key, false);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate_));
    X509_sign(certificate, key_, EVP_sha256());
    const pool::TlsFiles files{folder / "ca.pem", folder / "cert.pem", folder / "key.pem"};
    save(files.ca, [&](std::FILE* file) { PEM_write_X509(file, certificate_); });
    save(files.cert, [&](std::FILE* file) { PEM_write_X509(file, certificate); });
    save(files.key, [&](std::FILE* file) {
      PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    });
    X509_free(certificate);
    EVP_PKEY_free(key);
    return files;
  }

 private:
  static void fill(X509* certificate, const std::string& name, EVP_PKEY* key, bool authority) {
    static long serial = 0;
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_EXTENSION* constraints = X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints,
                                                      authority ? "critical,CA:TRUE" : "CA:FALSE");
    X509_add_ext(certificate, constraints, -1);
    X509_EXTENSION_free(constraints);
  }

  template <typename Write>
  static void save(const std::string& path, Write write) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    write(file);
    std::fclose(file);
  }

  EVP_PKEY* const key_;
  X509* const certificate_;
};

// A listener in a process of its own, and a pool of the hosts h1 and h2.
class Pool {
 public:
  Pool() {
    fs::create_directories(folder_);
    h1_ = authority_.issue(folder_ / "h1", "h1");
    h2_ = authority_.issue(folder_ / "h2", "h2");
    pool::ServiceListener listener({
        .addresses = {"127.0.0.1"},
        .port = 0,
        .tls = h2_,
        .is_member = [](const std::string& host) { return host == "h1" || host == "h2"; },
        .services = {{"echo", {{"/bin/sh", "-c", "cat; echo told >&2; exit 74"}, ""}},
                     {"killed", {{"/bin/sh", "-c", "kill -9 $$"}, ""}},
                     {"lingers", {{"/bin/sh", "-c", "sleep 30 & echo said; exit 3"}, ""}},
                     {"where", {{"/bin/sh", "-c", "echo $SSH_CONNECTION"}, ""}},
                     {"missing", {{"/no/such/program"}, ""}},
                     {"outlives", {{"/bin/sh", "-c", "echo ready; cat"}, ""}},
                     {"socket", {{}, folder_ / "socket"}}},
    });
    port_ = listener.port();
    process_ = fork();
    if (process_ != 0) return;
    static volatile sig_atomic_t asked_to_end = 0;
    signal(SIGTERM, [](int) { asked_to_end = 1; });
    sigset_t none;
    sigemptyset(&none);
    while (asked_to_end == 0) listener.serve(1s, none);
    _exit(0);
  }
  ~Pool() {
    stop();
    fs::remove_all(folder_);
  }

  void stop() {
    if (process_ == 0) return;
    kill(process_, SIGTERM);
    waitpid(process_, nullptr, 0);
    process_ = 0;
  }

  const Authority& authority() const { return authority_; }
  const fs::path& folder() const { return folder_; }
  const pool::TlsFiles& h1() const { return h1_; }
  std::uint16_t port() const { return port_; }

 private:
  static inline int number_ = 0;
  const fs::path folder_ =
      fs::absolute("pool_service." + std::to_string(getpid()) + "." + std::to_string(number_++));
  const Authority authority_;
  pool::TlsFiles h1_, h2_;
  std::uint16_t port_ = 0;
  pid_t process_ = 0;
};

struct Answer {
  int status = -1;
  std::string out, err, error;
};

// A client on a thread of its own, whose standard streams are pipes.
class Client {
 public:
  Client(const Pool& pool, const pool::TlsFiles& tls, const std::string& service,
         const std::string& expected = "h2") {
    int in[2], out[2], err[2];
    for (int* ends : {in, out, err}) BOOST_REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    in_ = in[1];
    out_ = out[0];
    err_ = err[0];
    pool::ServiceRequest request;
    request.address = "127.0.0.1";
    request.port = pool.port();
    request.service = service;
    request.tls = tls;
    request.is_expected = [expected](const std::string& host) { return host == expected; };
    request.in = in[0];
    request.out = out[1];
    request.err = err[1];
    thread_ = std::thread([this, request] {
      try {
        answer_.status = pool::ask_service(request);
      } catch (const Error& error) {
        answer_.error = error.what();
      }
    });
  }

  void write(const std::string& text) {
    BOOST_REQUIRE(::write(in_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void end_input() { close(std::exchange(in_, -1)); }
  std::string read_some() {
    char bytes[64];
    const ssize_t got = read(out_, bytes, sizeof bytes);
    return {bytes, static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
  }
  Answer finish() {
    if (in_ >= 0) end_input();
    thread_.join();
    answer_.out = rest_of(out_);
    answer_.err = rest_of(err_);
    return answer_;
  }

 private:
  static std::string rest_of(int fd) {
    std::string all;
    char bytes[4096];
    // The descriptors of a client that failed early are still open.
    pollfd ready{fd, POLLIN, 0};
    while (poll(&ready, 1, 0) > 0) {
      const ssize_t got = read(fd, bytes, sizeof bytes);
      if (got <= 0) break;
      all.append(bytes, static_cast<std::size_t>(got));
    }
    close(fd);
    return all;
  }

  int in_, out_, err_;
  Answer answer_;
  std::thread thread_;
};

bool contains(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pool_service)

BOOST_AUTO_TEST_CASE(streams_half_close_and_exit_status_are_carried) {
  const Pool pool;
  Client client(pool, pool.h1(), "echo");
  client.write("first");
  BOOST_TEST(client.read_some() == "first");  // before the input ends
  const std::string much(50'000, 'x');
  client.write(much);
  client.end_input();  // `cat` ends by this, and the rest comes back
  const Answer answer = client.finish();
  BOOST_TEST(answer.error == "");
  BOOST_TEST(answer.status == 74);
  BOOST_TEST(answer.out.size() == much.size());
  BOOST_TEST(answer.err == "told\n");
}

BOOST_AUTO_TEST_CASE(a_service_that_a_signal_ends_has_status_255) {
  const Pool pool;
  BOOST_TEST(Client(pool, pool.h1(), "killed").finish().status == 255);
}

BOOST_AUTO_TEST_CASE(what_a_service_leaves_in_the_background_does_not_keep_the_client) {
  const Pool pool;
  const auto start = std::chrono::steady_clock::now();
  const Answer answer = Client(pool, pool.h1(), "lingers").finish();
  BOOST_TEST(answer.status == 3);
  BOOST_TEST(answer.out == "said\n");
  BOOST_TEST((std::chrono::steady_clock::now() - start < 20s));
}

BOOST_AUTO_TEST_CASE(a_service_is_told_where_it_was_reached) {
  const Pool pool;
  const Answer answer = Client(pool, pool.h1(), "where").finish();
  BOOST_TEST(contains(answer.out, " 127.0.0.1 " + std::to_string(pool.port())));
}

BOOST_AUTO_TEST_CASE(a_socket_is_joined_in_both_directions) {
  const Pool pool;
  namespace asio = boost::asio;
  asio::io_context io;
  asio::local::stream_protocol::acceptor acceptor(
      io, asio::local::stream_protocol::endpoint((pool.folder() / "socket").string()));
  Client client(pool, pool.h1(), "socket");
  client.write("question");
  auto socket = acceptor.accept();
  std::string question;
  client.end_input();
  boost::system::error_code end;
  asio::read(socket, asio::dynamic_buffer(question), end);
  BOOST_TEST(question == "question");
  asio::write(socket, asio::buffer(std::string("answer")));
  socket.close();
  const Answer answer = client.finish();
  BOOST_TEST(answer.status == 0);
  BOOST_TEST(answer.out == "answer");
}

BOOST_AUTO_TEST_CASE(what_is_not_there_is_refused_with_a_reason) {
  const Pool pool;
  BOOST_TEST(contains(Client(pool, pool.h1(), "shell").finish().error, "no service 'shell'"));
  BOOST_TEST(contains(Client(pool, pool.h1(), "missing").finish().error, "/no/such/program"));
  BOOST_TEST(
      contains(Client(pool, pool.h1(), "socket").finish().error, "cannot reach the service"));
}

BOOST_AUTO_TEST_CASE(another_authority_s_certificate_is_refused_on_both_sides) {
  const Pool pool;
  const Authority other;
  pool::TlsFiles tls = other.issue(pool.folder() / "stranger", "h1");
  BOOST_TEST(contains(Client(pool, tls, "echo").finish().error, "not a host of this pool"));
  tls.ca = pool.h1().ca;  // it believes the listener, which does not believe it
  BOOST_TEST(contains(Client(pool, tls, "echo").finish().error, "does not take this host"));
}

BOOST_AUTO_TEST_CASE(a_host_that_left_the_pool_is_refused) {
  const Pool pool;
  const pool::TlsFiles tls = pool.authority().issue(pool.folder() / "h3", "h3");
  BOOST_TEST(contains(Client(pool, tls, "echo").finish().error, "does not take this host"));
}

BOOST_AUTO_TEST_CASE(a_host_other_than_the_one_that_was_meant_is_refused) {
  const Pool pool;
  BOOST_TEST(
      contains(Client(pool, pool.h1(), "echo", "h5").finish().error, "answers as host 'h2'"));
}

BOOST_AUTO_TEST_CASE(an_older_tls_is_refused) {
  const Pool pool;
  namespace asio = boost::asio;
  const auto shake_hands = [&pool](int version) {
    asio::ssl::context tls(asio::ssl::context::tls_client);
    SSL_CTX_set_min_proto_version(tls.native_handle(), version);
    SSL_CTX_set_max_proto_version(tls.native_handle(), version);
    tls.use_certificate_chain_file(pool.h1().cert);
    tls.use_private_key_file(pool.h1().key, asio::ssl::context::pem);
    asio::io_context io;
    asio::ssl::stream<asio::ip::tcp::socket> stream(io, tls);
    stream.next_layer().connect({asio::ip::make_address("127.0.0.1"), pool.port()});
    boost::system::error_code error;
    stream.handshake(asio::ssl::stream_base::client, error);
    return error;
  };
  BOOST_TEST(!shake_hands(TLS1_3_VERSION));
  BOOST_TEST(!!shake_hands(TLS1_2_VERSION));
}

BOOST_AUTO_TEST_CASE(idle_strangers_keep_no_host_out) {
  const Pool pool;
  namespace asio = boost::asio;
  asio::io_context io;
  std::vector<asio::ip::tcp::socket> strangers;
  for (int i = 0; i < 40; ++i)
    strangers.emplace_back(io).connect({asio::ip::make_address("127.0.0.1"), pool.port()});
  BOOST_TEST(Client(pool, pool.h1(), "echo").finish().status == 74);
}

BOOST_AUTO_TEST_CASE(a_connection_outlives_the_listener) {
  Pool pool;
  Client client(pool, pool.h1(), "outlives");
  BOOST_TEST(client.read_some() == "ready\n");
  pool.stop();
  client.write("more");
  BOOST_TEST(client.read_some() == "more");
  const Answer answer = client.finish();
  BOOST_TEST(answer.status == 0);
  BOOST_TEST(contains(Client(pool, pool.h1(), "echo").finish().error, "cannot reach"));
}

BOOST_AUTO_TEST_SUITE_END()
