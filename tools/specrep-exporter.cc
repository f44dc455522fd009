// specrep-exporter: what this host protects and keeps copies of, for Prometheus to scrape.

#include <openssl/crypto.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/ip/address.hpp>
#include <csignal>
#include <fstream>
#include <iostream>
#include <mutex>

#include "libspecrep/error.h"
#include "libspecrep/xen/registry.h"
#include "tools/event_log.h"
#include "tools/exporter/metrics.h"
#include "tools/log.h"

namespace {

using namespace specrep;

// Several monitoring systems may ask at once, and one of them may be slow.
constexpr std::size_t kThreads = 4;

class Host final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override {
    nlohmann::json entries = nlohmann::json::array();
    double readable = 1;
    try {
      entries = xen::list_protections();
    } catch (const std::exception& error) {
      readable = 0;
      spdlog::error(error.what());
    }
    const std::lock_guard lock(mutex_);
    auto families = tools::exporter::metrics_of(entries, events_.update());
    prometheus::MetricFamily family;
    family.name = "specrep_registry_readable";
    family.help = "Whether xenstore could be read.";
    family.type = prometheus::MetricType::Gauge;
    family.metric.resize(1);
    family.metric[0].gauge.value = readable;
    families.push_back(std::move(family));
    return families;
  }

 private:
  mutable std::mutex mutex_;
  mutable tools::exporter::EventCounter events_{tools::kLogFolder};
};

// The address and port of "ADDRESS:PORT", which is what the server takes, too.
struct Endpoint {
  boost::asio::ip::address address;
  unsigned port;
};
Endpoint endpoint_of(const std::string& text) {
  const Error bad("--listen " + text + " is not ADDRESS:PORT",
                  "for example 127.0.0.1:9469, or [::1]:9469");
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) throw bad;
  std::string host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(host, failed);
  const std::string port = text.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 &&
                      port.find_first_not_of("0123456789") == std::string::npos;
  if (failed || address.is_v6() != bracketed || !digits) throw bad;
  const auto number = static_cast<unsigned>(std::stoul(port));
  if (number == 0 || number > 65535) throw bad;
  return {address, number};
}

struct Credentials {
  std::string user, password;
};
Credentials read_credentials(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0)
    throw Error(path + " can be read by others than its owner", "chmod 600 " + path);
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const auto colon = line.find(':');
  if (!file || colon == 0 || colon == std::string::npos || colon + 1 == line.size())
    throw Error("there is no USER:PASSWORD in the first line of " + path);
  return {line.substr(0, colon), line.substr(colon + 1)};
}

// In a time that does not tell how much of it was right.
bool same(const std::string& given, const std::string& wanted) {
  return given.size() == wanted.size() &&
         CRYPTO_memcmp(given.data(), wanted.data(), wanted.size()) == 0;
}

void serve(const std::string& listen, const std::string& credentials_file) {
  const Endpoint endpoint = endpoint_of(listen);
  if (!endpoint.address.is_loopback() && credentials_file.empty())
    throw Error("--listen " + listen + " can be reached from outside, without authentication",
                "listen on a loopback address, or give a user and password with --credentials");

  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);

  std::optional<prometheus::Exposer> exposer;
  try {
    exposer.emplace(listen, kThreads);
  } catch (const std::exception&) {
    throw Error("cannot listen on " + listen,
                "does another program, or is it not an address of this host?");
  }
  if (!credentials_file.empty()) {
    const Credentials wanted = read_credentials(credentials_file);
    exposer->RegisterAuth(
        [wanted](const std::string& user, const std::string& password) {
          // Both, whatever the first says: how long this takes is to tell nothing.
          const bool is_user = same(user, wanted.user), is_password = same(password, wanted.password);
          return is_user && is_password;
        },
        "specrep-exporter");
  }
  const auto host = std::make_shared<Host>();
  exposer->RegisterCollectable(host);
  spdlog::info("listening on http://{}/metrics", listen);
  sd_notify(0, "READY=1");
  int signal = 0;
  sigwait(&set, &signal);
  sd_notify(0, "STOPPING=1");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Serves the figures of this host's protections to Prometheus.");
  std::string listen = "127.0.0.1:9469", credentials;
  app.add_option("--listen", listen, "where [127.0.0.1:9469]")->type_name("ADDRESS:PORT");
  app.add_option("--credentials", credentials,
                 "a file with USER:PASSWORD, which whoever asks has to give; needed for an address "
                 "that is not a loopback one")
      ->type_name("FILE");
  tools::log_to_stderr();
  try {
    app.parse(argc, argv);
    serve(listen, credentials);
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const Error& error) {
    std::cerr << "specrep-exporter: " << error.what() << "\n";
    if (!error.advice().empty()) std::cerr << "  " << error.advice() << "\n";
  } catch (const std::exception& error) {
    std::cerr << "specrep-exporter: internal error: " << error.what() << "\n";
  }
  return 1;
}
