// specrep-agent: keeps what pool.conf wants true for the guests of this host. A daemon, for systemd
// (specrep-agent.service) or in the foreground. What it decides, and why, it logs; with journald
// each decision has the fields SPECREP_GUEST and SPECREP_DECISION.
//
// It holds nothing that is not also in pool.conf, in Xen, or with the other hosts, so it can be
// ended and started at any time. What it starts for a guest is not its child but systemd's.
//
// /run/specrep/agent.sock is asked by the agents of the other hosts, through specrep-listener, and
// by specrep-pool: an object of JSON a line, and a line for an answer.
//   {"ask":"status"}                       all that is known, see status_of()
//   {"ask":"get-config"}                   {"text":..., "generation":N, "digest":...}
//   {"ask":"set-config", "text":...}       takes a pool.conf that is newer; {"generation":N}
// Errors are {"error":..., "advice":...}.

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <signal.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <list>
#include <map>
#include <set>
#include <thread>

#include "libspecrep/error.h"
#include "libspecrep/hex.h"
#include "libspecrep/pool/agent.h"
#include "libspecrep/pool/service_client.h"
#include "tools/agent/child.h"
#include "tools/agent/deed.h"
#include "tools/agent/life.h"
#include "tools/agent/peer.h"
#include "tools/agent/question_socket.h"
#include "tools/agent/sight.h"
#include "tools/log.h"
#include "tools/service_manager.h"

namespace {

using namespace specrep;
using namespace std::chrono_literals;
using nlohmann::json;

constexpr const char* kSocket = "/run/specrep/agent.sock";
constexpr Duration kLookInterval = 1s, kTick = 100ms;
// For all guests to be moved away when the host is shut down.
constexpr Duration kLeaveMax = 10min;
constexpr std::uint64_t kExtendUs = 30'000'000;
constexpr Duration kSystemStateMax = 10s;
// For the record of this host to be withdrawn when it is shut down.
constexpr Duration kWithdrawMax = 5s;

void log_decision(int priority, const std::string& guest, const std::string& decision,
                  const std::string& text) {
  if (getenv("JOURNAL_STREAM") != nullptr)
    sd_journal_send("MESSAGE=%s", text.c_str(), "PRIORITY=%d", priority, "SPECREP_GUEST=%s",
                    guest.c_str(), "SPECREP_DECISION=%s", decision.c_str(), nullptr);
  else
    spdlog::info("{}", text);
}

class Program {
 public:
  Program(std::string config_path, std::uint16_t port, std::string host)
      : config_path_(std::move(config_path)),
        port_(port),
        host_(std::move(host)),
        agent_(host_, clock_),
        socket_(kSocket, [this](const json& question) { return answer(question); }) {
    read_config();
  }

  int run() {
    signal(SIGPIPE, SIG_IGN);
    const sigset_t unblocked = tools::hold_stop_signals();
    manager_.ready("watching");
    for (TimePoint next_look{}; !(done() && is_withdrawn(kWithdrawMax));) {
      socket_.serve(kTick, unblocked);
      manager_.beat();
      if (tools::stop_asked && !leaving_since_ && !ending_ && !begin_to_end()) ending_ = true;
      if (ending_ && is_withdrawn()) break;
      if (now() >= next_look) {
        next_look = now() + kLookInterval;
        look();
      }
      hear();
      finish_deeds();
      tend_life();
      if (!blind_)
        for (const pool::Action& action : agent_.step()) begin(action);
      tell();
    }
    manager_.stopping();
    return 0;
  }

 private:
  static TimePoint now() { return std::chrono::steady_clock::now(); }

  // pool.conf, when it is another than before. A broken one is complained of once, and the last
  // good one stays in force.
  void read_config() {
    struct stat status {};
    if (stat(config_path_.c_str(), &status) != 0)
      throw Error("there is no " + config_path_, "`specrep-pool init` or `join` makes it");
    const auto stamp =
        std::pair(status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec, status.st_ino);
    if (stamp == config_stamp_) return;
    config_stamp_ = stamp;
    try {
      const std::string text = pool::load_text(config_path_);
      use_config(text);
    } catch (const Error& error) {
      config_trouble_ = with_advice(error);
      spdlog::error("{}", config_trouble_);
    }
  }

  void use_config(const std::string& text) {
    pool::Config config = pool::parse_config(text, config_path_);
    if (config.find_host(host_) == nullptr)
      throw Error("this host, '" + host_ + "', is not in " + config_path_,
                  "`specrep-pool join` adds it");
    config_trouble_.clear();
    config_ = config;
    digest_ = sha256(text);
    std::erase_if(peers_, [&](const auto& peer) {
      const pool::Host* host = config_.find_host(peer.first);
      return host == nullptr || host->management_address != peer_addresses_[peer.first];
    });
    for (const pool::Host& host : config_.hosts) {
      if (host.name == host_ || peers_.contains(host.name)) continue;
      pool::ServiceRequest request;
      request.address = host.management_address;
      request.port = port_;
      request.is_expected = [name = host.name](const std::string& who) { return who == name; };
      peer_addresses_[host.name] = host.management_address;
      peers_.emplace(host.name, std::make_unique<tools::Peer>(std::move(request)));
    }
    spdlog::info("generation {} of pool {}: {} hosts, {} guests", config_.generation, config_.name,
                 config_.hosts.size(), config_.vms.size());
    agent_.configure(std::move(config), digest_);
  }

  void look() {
    try {
      read_config();
      std::vector<pool::GuestSeen> guests = tools::look_at_host(libxl_);
      for (pool::GuestSeen& guest : guests) guest.backup = host_named(guest.backup);
      agent_.observe(std::move(guests));
      blind_ = false;
    } catch (const Error& error) {
      blind_ = true;
      complain(with_advice(error));
    }
    for (auto& [name, peer] : peers_) {
      const bool wants_config = name == wanted_config_;
      if (peer->ask({{"ask", wants_config ? "get-config" : "status"}, {"from", host_}}) &&
          wants_config)
        wanted_config_.clear();
    }
  }

  // Keeps this host's record with the arbiter, if pool.conf asks for it.
  void tend_life() {
    if (life_ && !life_->configure(config_)) life_->withdraw();
    if (life_ && life_->withdrawn() && !ending_ && !leaving_since_) life_.reset();
    if (!life_ && !ending_ && !leaving_since_ && !blind_ && tools::Life::is_wanted(config_)) {
      try {
        life_ = std::make_unique<tools::Life>(config_, host_);
      } catch (const Error& error) {
        complain("restart guests of a host that is silent wait for it: " + with_advice(error));
      }
    }
    if (!life_) return agent_.know({});
    pool::Liveness::Seen seen;
    // Whatever runs here, as far as is known.
    seen.has_restart_guests = blind_ || agent_.has_restart_guests();
    seen.asked = asked_by_;
    for (const pool::Host& host : config_.hosts)
      if (const auto ago = agent_.heard_ago(host.name)) seen.answered[host.name] = now() - *ago;
    life_->see(std::move(seen));
    agent_.know(life_->verdict());
    if (const std::string trouble = life_->trouble(); !trouble.empty())
      complain("the arbiter: " + trouble);
  }

  // Without its record nobody may start its guests elsewhere, so it must be gone before this
  // process is. `at_most`: after which Xen's watchdog sees to it instead.
  bool is_withdrawn(std::optional<Duration> at_most = {}) {
    if (!life_) return true;
    life_->withdraw();
    if (!withdraw_since_) withdraw_since_ = now();
    manager_.extend_timeout(kExtendUs);
    return life_->withdrawn() || (at_most && now() - *withdraw_since_ >= *at_most);
  }

  // As pool.conf names it; who protected a guest by hand may have given an address.
  std::string host_named(const std::string& name) const {
    for (const pool::Host& host : config_.hosts)
      if (name == host.management_address || name == host.replication_address) return host.name;
    return name;
  }

  void hear() {
    for (auto& [name, peer] : peers_) {
      const auto answer = peer->take();
      if (!answer) continue;
      try {
        if (!answer->answer.is_object()) throw Error("its answer makes no sense");
        if (answer->answer.contains("error"))
          throw Error(answer->answer["error"].get<std::string>());
        if (answer->question["ask"] == "get-config") {
          take_config(answer->answer.at("text"), name);
          continue;
        }
        pool::HostReport report = pool::to_report(answer->answer.at("report"));
        if (report.host != name) throw Error("it calls itself " + report.host);
        agent_.hear(std::move(report), answer->asked);
      } catch (const std::exception& error) {
        complain("the agent of " + name + ": " + error.what());
      }
    }
  }

  // What is wrong again and again is said once.
  void complain(const std::string& what) {
    if (what == complaint_) return;
    complaint_ = what;
    spdlog::warn("{}", what);
  }

  void begin(const pool::Action& action) {
    if (action.kind == pool::Action::Kind::kTakeConfig) {
      wanted_config_ = action.host;
      return;
    }
    log_decision(
        LOG_NOTICE, action.guest, to_string(action.kind),
        action.guest + ": " + to_string(action.kind) + ", " + action.host + ": " + action.why);
    try {
      deeds_.push_back(std::make_unique<tools::Deed>(action, config_));
    } catch (const Error& error) {
      agent_.done(action.kind, action.guest, with_advice(error));
    }
  }

  void finish_deeds() {
    std::erase_if(deeds_, [this](const std::unique_ptr<tools::Deed>& deed) {
      const auto error = deed->ended();
      if (!error) return false;
      const pool::Action& action = deed->action();
      if (action.kind != pool::Action::Kind::kDiscard)
        log_decision(error->empty() ? LOG_NOTICE : LOG_WARNING, action.guest,
                     to_string(action.kind),
                     action.guest + ": " + to_string(action.kind) +
                         (error->empty() ? " has ended" : " failed: " + *error));
      agent_.done(action.kind, action.guest, *error);
      return true;
    });
  }

  // What a guest waits for is said when it changes, and so is who is up.
  void tell() {
    for (const auto& guest : agent_.status()) {
      std::string& told = told_[guest.name];
      if (guest.waiting == told) continue;
      told = guest.waiting;
      if (!told.empty()) log_decision(LOG_NOTICE, guest.name, "wait", guest.name + ": " + told);
    }
    for (const pool::Host& host : config_.hosts) {
      const bool up = agent_.is_up(host.name);
      if (up_.contains(host.name) == up) continue;
      up ? void(up_.insert(host.name)) : void(up_.erase(host.name));
      const auto peer = peers_.find(host.name);
      const std::string trouble = peer == peers_.end() ? std::string() : peer->second->trouble();
      spdlog::info("{} {}", host.name,
                   up ? "is up"
                      : "does not answer: " +
                            (trouble.empty() ? "nothing was heard of it in time" : trouble));
    }
  }

  json answer(const json& question) {
    const std::string ask = question.value("ask", "");
    if (const std::string from = question.value("from", ""); config_.find_host(from) != nullptr)
      asked_by_[from] = now();
    if (ask == "status") return status_of();
    if (ask == "get-config")
      return {{"text", pool::load_text(config_path_)},
              {"generation", config_.generation},
              {"digest", digest_}};
    if (ask == "set-config") {
      take_config(question.at("text"), "specrep-pool");
      return {{"generation", config_.generation}};
    }
    throw Error("'" + ask + "' is not a question", "status, get-config and set-config are");
  }

  void take_config(const std::string& text, const std::string& from) {
    const pool::Config config = pool::parse_config(text, "the pool.conf of " + from);
    if (config.uuid != config_.uuid) throw Error("that is the pool.conf of another pool");
    if (sha256(text) == digest_) return;
    if (config.generation <= config_.generation)
      throw Error("generation " + std::to_string(config.generation) +
                      " is not newer than the one here, " + std::to_string(config_.generation),
                  "begin with what is here: {\"ask\":\"get-config\"}");
    pool::save_text(text, config_path_);
    spdlog::info("generation {} of pool.conf comes from {}", config.generation, from);
    read_config();
  }

  json status_of() const {
    const std::set<std::string> dead = life_ ? life_->verdict().dead : std::set<std::string>{};
    json hosts = json::array();
    for (const pool::Host& host : config_.hosts) {
      const pool::HostReport* heard = agent_.last_report(host.name);
      json entry = {{"name", host.name}, {"up", agent_.is_up(host.name)}};
      if (host.name == host_)
        entry.update({{"generation", config_.generation}, {"digest", digest_}});
      else if (heard != nullptr)
        entry.update({{"generation", heard->generation},
                      {"digest", heard->digest},
                      {"heard_s_ago", milliseconds(*agent_.heard_ago(host.name)) / 1000}});
      if (const auto peer = peers_.find(host.name);
          peer != peers_.end() && !agent_.is_up(host.name))
        entry["trouble"] = peer->second->trouble();
      if (dead.contains(host.name)) entry["declared_dead"] = true;
      hosts.push_back(std::move(entry));
    }
    json guests = json::array();
    for (const auto& guest : agent_.status())
      guests.push_back({{"name", guest.name},
                        {"host", guest.host},
                        {"backup", guest.backup},
                        {"state", guest.state},
                        {"waiting", guest.waiting}});
    json status = {{"arbiter_trouble", life_ ? life_->trouble() : ""},
                   {"config_trouble", config_trouble_},
                   {"hosts", hosts},
                   {"guests", guests}};
    // One that does not know what runs here is silent to the others.
    if (!blind_) status["report"] = pool::to_json(agent_.report());
    return status;
  }

  // Whether there is something to do before the end: only when the host is being shut down.
  bool begin_to_end() {
    if (!system_stops()) {
      spdlog::info("ending; guests and their protections go on");
      return false;
    }
    spdlog::info("the host is being shut down: its guests go to their copies");
    leaving_since_ = now();
    agent_.leave();
    return true;
  }

  static bool system_stops() {
    try {
      tools::Child child({"systemctl", "is-system-running"});
      for (const TimePoint start = now(); now() - start < kSystemStateMax;
           std::this_thread::sleep_for(kTick))
        if (child.ended()) return child.said() == "stopping";
    } catch (const Error&) {  // no systemd
    }
    return false;
  }

  bool done() {
    if (!leaving_since_) return false;
    manager_.extend_timeout(kExtendUs);
    if (now() - *leaving_since_ > kLeaveMax) {
      spdlog::warn("not all guests could be moved in time");
      return true;
    }
    // A turn to look, after which what is left here waits for something.
    if (now() - *leaving_since_ < 2 * kLookInterval) return false;
    for (const auto& deed : deeds_)
      if (deed->action().kind == pool::Action::Kind::kSwitchOver) return false;
    return true;
  }

  const std::string config_path_;
  const std::uint16_t port_;
  const std::string host_;
  SteadyClock clock_;
  pool::Agent agent_;
  tools::QuestionSocket socket_;
  const xen::Libxl libxl_;
  tools::ServiceManager manager_;
  std::pair<std::int64_t, ino_t> config_stamp_{};
  pool::Config config_;
  std::string digest_, config_trouble_, complaint_, wanted_config_;
  std::map<std::string, std::unique_ptr<tools::Peer>> peers_;
  std::map<std::string, std::string> peer_addresses_, told_;
  std::set<std::string> up_;
  std::list<std::unique_ptr<tools::Deed>> deeds_;
  std::optional<TimePoint> leaving_since_, withdraw_since_;
  bool ending_ = false;  // as soon as the record is withdrawn
  std::unique_ptr<tools::Life> life_;
  std::map<std::string, TimePoint> asked_by_;
  bool blind_ = true;  // what runs here could not be seen just now
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Protects the guests of this host as pool.conf says.", "specrep-agent");
  std::string config = pool::kConfigPath;
  std::uint16_t port = pool::kServicePort;
  app.add_option("--config", config, "the pool [" + config + "]")->type_name("FILE");
  app.add_option("--port", port,
                 "where the other hosts' specrep-listener is [" + std::to_string(port) + "]");
  CLI11_PARSE(app, argc, argv);
  tools::log_to_stderr();
  int status = 1;
  try {
    Program program(config, port, pool::certificate_host(pool::TlsFiles().cert));
    status = program.run();
  } catch (const Error& error) {
    spdlog::error("{}", with_advice(error));
  } catch (const std::exception& error) {
    spdlog::error("internal error: {}", error.what());
  }
  // Not through static destructors: threads may still wait for other hosts.
  spdlog::shutdown();
  _exit(status);
}
