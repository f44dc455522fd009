// specrep-pool as a whole, on folders in the place of hosts. What it says to agents and over ssh
// goes to scripts and to a thread here.

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "folder.h"
#include "libspecrep/hex.h"
#include "libspecrep/pool/certificates.h"
#include "libspecrep/pool/config.h"
#include "libspecrep/pool/edit.h"

namespace {

using namespace specrep::pool;
using nlohmann::json;

bool contains(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

struct Ran {
  int status;
  std::string said;  // stdout and stderr
};

// Two hosts, a folder each.
struct Hosts {
  Hosts() {
    std::filesystem::create_directories(folder / "xen1");
    std::filesystem::create_directories(folder / "xen2");
    // Called as: ssh -- HOST specrep-pool admit
    write(folder / "ssh", "exec " + command("xen1") + " admit\n");
    // Called as: connect ADDRESS agent. Keeps what it is asked. Or as: connect ADDRESS renew, by
    // xen2.
    write(folder / "connect", "#!/bin/sh\n[ \"$2\" = renew ] && SPECREP_PEER=${PEER:-xen2} exec " +
                                  command("xen1") +
                                  " admit\nread -r line\nprintf '%s\\n' \"$line\" >> " +
                                  (folder / "asked-").string() + "$1\necho '{\"generation\":1}'\n");
    std::filesystem::permissions(folder / "connect", std::filesystem::perms::owner_all);
  }

  std::string command(const std::string& host) const {
    const std::string own = folder / host;
    return std::string(SPECREP_POOL) + " --config " + own + "/pool.conf --tls-folder " + own +
           "/tls --agent-socket " + own + "/agent.sock --connect " + (folder / "connect").string();
  }

  Ran run(const std::string& host, const std::string& arguments) const {
    return run_in_shell(command(host) + " " + arguments);
  }

  static Ran run_in_shell(const std::string& words) {
    FILE* pipe = popen(("{ " + words + "; } 2>&1").c_str(), "r");
    BOOST_REQUIRE(pipe);
    Ran ran{0, ""};
    char buffer[512];
    for (std::size_t got; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
      ran.said.append(buffer, got);
    ran.status = WEXITSTATUS(pclose(pipe));
    return ran;
  }

  // By a shell, with what asks before it.
  Ran ask_for_admittance(const std::string& asking) const {
    return run_in_shell(asking + " SPECREP_PEER=xen2 " + command("xen1") + " admit");
  }

  void make_pool() const {
    const Ran init = run("xen1", "init web --name xen1 --address 10.0.0.1 --memory 4096");
    BOOST_TEST_REQUIRE(init.status == 0, init.said);
    const Ran join =
        run("xen2", "join 10.0.0.1 --name xen2 --address 10.0.0.2 --memory 4096 --ssh 'sh " +
                        (folder / "ssh").string() + "'");
    BOOST_TEST_REQUIRE(join.status == 0, join.said);
  }

  Config config(const std::string& host) const {
    return parse_config(load_text(folder / host / "pool.conf"));
  }

  specrep::Folder folder;
};

// Answers every question on the socket of a host's agent with the same object.
class FakeAgent {
 public:
  FakeAgent(const std::filesystem::path& path, json answer) : answer_(std::move(answer)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    listening_ = socket(AF_UNIX, SOCK_STREAM, 0);
    BOOST_REQUIRE(bind(listening_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    BOOST_REQUIRE(listen(listening_, 4) == 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeAgent() {
    stop_ = true;
    thread_.join();
    close(listening_);
    BOOST_CHECK(all_written_);  // here, since Boost.Test takes one thread
  }

 private:
  void serve() {
    while (!stop_) {
      pollfd waiting{listening_, POLLIN, 0};
      if (poll(&waiting, 1, 50) <= 0) continue;
      const int asker = accept(listening_, nullptr, nullptr);
      char letter = 0;
      while (::read(asker, &letter, 1) == 1 && letter != '\n') continue;
      const std::string line = answer_.dump() + "\n";
      if (::write(asker, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
        all_written_ = false;
      close(asker);
    }
  }

  const json answer_;
  int listening_ = -1;
  std::atomic<bool> stop_ = false;
  bool all_written_ = true;
  std::thread thread_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(pool_command)

BOOST_FIXTURE_TEST_CASE(a_pool_is_made_and_joined, Hosts) {
  make_pool();
  const Config config = this->config("xen2");
  BOOST_TEST(read(folder / "xen1/pool.conf") == read(folder / "xen2/pool.conf"));
  BOOST_TEST(config.generation == 2u);
  BOOST_REQUIRE(config.hosts.size() == 2u);
  BOOST_TEST(config.coordinator().name == "xen1");
  BOOST_TEST(config.hosts[1].management_address == "10.0.0.2");
  for (const char* host : {"xen1", "xen2"}) {
    const auto tls = folder / host / "tls";
    BOOST_TEST(
        belongs(read(tls / "cert.pem"), read(tls / "key.pem"), read(folder / "xen1/tls/ca.pem")));
    BOOST_TEST(read_certificate(read(tls / "cert.pem")).host == host);
    BOOST_CHECK(std::filesystem::status(tls / "key.pem").permissions() ==
                (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
  }
  BOOST_TEST(!std::filesystem::exists(folder / "xen2/tls/ca.key"));
  // The host that joins gets it as the answer.
  BOOST_TEST(!std::filesystem::exists(folder / "asked-10.0.0.2"));
}

BOOST_FIXTURE_TEST_CASE(a_host_is_in_one_pool_and_names_are_unique, Hosts) {
  make_pool();
  const Ran again = run("xen1", "init other --address 10.0.0.1 --memory 4096");
  BOOST_TEST(again.status == 1);
  BOOST_TEST(contains(again.said, "in a pool already"));
  std::filesystem::remove(folder / "xen2/pool.conf");
  const Ran twice =
      run("xen2", "join 10.0.0.1 --name xen2 --address 10.0.0.3 --memory 4096 --ssh 'sh " +
                      (folder / "ssh").string() + "'");
  BOOST_TEST(twice.status == 1);
  BOOST_TEST(contains(twice.said, "is that of host xen2"), twice.said);
  BOOST_TEST(!std::filesystem::exists(folder / "xen2/pool.conf"));
  BOOST_TEST(config("xen1").generation == 2u);
}

BOOST_FIXTURE_TEST_CASE(a_guest_is_protected_changed_and_left_alone, Hosts) {
  make_pool();
  write(folder / "web1.cfg",
        "name = 'web1'\nuuid = \"33333333-3333-4333-8333-333333333331\"\n"
        "memory = 256\nmaxmem = 512 # most\n");
  const Ran protect = run("xen1", "vm-protect web1 config=" + (folder / "web1.cfg").string() +
                                      " max-delay-ms=250 backup-hosts=xen2,xen1");
  BOOST_TEST_REQUIRE(protect.status == 0, protect.said);
  Config after = config("xen1");
  BOOST_TEST(after.generation == 3u);
  BOOST_REQUIRE(after.vms.size() == 1u);
  BOOST_TEST(after.vms[0].uuid == "33333333-3333-4333-8333-333333333331");
  BOOST_TEST(after.vms[0].memory_mib == 540u);  // with what Xen needs
  BOOST_CHECK(after.vms[0].protection == Protection::kReplicate);
  BOOST_TEST(after.vms[0].max_delay_ms.value() == 250);
  BOOST_TEST(after.vms[0].backup_hosts.size() == 2u);
  // The other host was told.
  const json told = json::parse(read(folder / "asked-10.0.0.2"));
  BOOST_TEST(told["ask"] == "set-config");
  BOOST_TEST(told["text"] == read(folder / "xen1/pool.conf"));

  const std::string before = read(folder / "xen1/pool.conf");
  const Ran wrong = run("xen1", "vm-param-set web1 max-delay-ms=1 epoch-ms=100");
  BOOST_TEST(wrong.status == 1);
  BOOST_TEST(contains(wrong.said, "max-delay-ms = 1 is out of range"), wrong.said);
  BOOST_TEST(contains(wrong.said, "both epoch-ms and max-delay-ms"), wrong.said);
  BOOST_TEST(read(folder / "xen1/pool.conf") == before);

  BOOST_TEST(run("xen1", "vm-param-set web1 max-delay-ms= epoch-ms=100").status == 0);
  BOOST_TEST(run("xen1", "vm-unprotect web1").status == 0);
  after = config("xen1");
  BOOST_TEST(after.vms[0].epoch_ms.value() == 100);
  BOOST_TEST(!after.vms[0].max_delay_ms);
  BOOST_CHECK(after.vms[0].protection == Protection::kNone);
  BOOST_TEST(run("xen1", "vm-unprotect --forget web1").status == 0);
  BOOST_TEST(config("xen1").vms.empty());
  const Ran gone = run("xen1", "vm-unprotect web1");
  BOOST_TEST(gone.status == 1);
  BOOST_TEST(contains(gone.said, "knows no guest web1"));
  BOOST_TEST(run("xen1", "vm-param-set web1").status == 2);
}

BOOST_FIXTURE_TEST_CASE(ha_is_switched_and_set, Hosts) {
  make_pool();
  BOOST_TEST(run("xen1", "ha-disable").status == 0);
  BOOST_TEST(!config("xen1").ha.enabled);
  BOOST_TEST(
      run("xen1", "ha-enable arbiter=file:/shared timeout-ms=2000 fencing=watchdog").status == 0);
  const Config after = config("xen1");
  BOOST_TEST(after.ha.enabled);
  BOOST_TEST(after.ha.arbiter == "file:/shared");
  BOOST_TEST(after.ha.timeout_ms == 2000);
  BOOST_CHECK(after.ha.fencing == Fencing::kWatchdog);
}

BOOST_FIXTURE_TEST_CASE(a_host_is_ejected_with_all_mention_of_it, Hosts) {
  make_pool();
  BOOST_TEST(run("xen1",
                 "vm-protect web1 protection=restart uuid=33333333-3333-4333-8333-333333333331 "
                 "config=/x.cfg memory-mib=512 preferred-host=xen2")
                 .status == 0);
  const Ran coordinator = run("xen2", "eject xen1");
  BOOST_TEST(coordinator.status == 1);
  BOOST_TEST(contains(coordinator.said, "is the coordinator"));
  const Ran ejected = run("xen1", "eject xen2");
  BOOST_TEST_REQUIRE(ejected.status == 0, ejected.said);
  BOOST_TEST(config("xen1").hosts.size() == 1u);
  BOOST_TEST(config("xen1").vms[0].preferred_host == "");
}

BOOST_FIXTURE_TEST_CASE(certificates_are_renewed_when_asked, Hosts) {
  make_pool();
  const std::string before = read(folder / "xen2/tls/cert.pem");
  const std::string ssh = " --ssh 'sh " + (folder / "ssh").string() + "'";
  const Ran early = run("xen2", "renew" + ssh);
  BOOST_TEST(early.status == 0);
  BOOST_TEST(contains(early.said, "is good until"), early.said);
  BOOST_TEST(read(folder / "xen2/tls/cert.pem") == before);
  for (const char* host : {"xen1", "xen2"}) {
    for (const std::string& how : {std::string(), ssh}) {
      const Ran forced = run(host, "renew --force" + how);
      BOOST_TEST_REQUIRE(forced.status == 0, forced.said);
    }
    BOOST_TEST(belongs(read(folder / host / "tls/cert.pem"), read(folder / host / "tls/key.pem"),
                       read(folder / "xen1/tls/ca.pem")));
  }
  BOOST_TEST(read(folder / "xen2/tls/cert.pem") != before);
}

BOOST_FIXTURE_TEST_CASE(a_host_may_have_no_other_host_s_certificate_renewed, Hosts) {
  make_pool();
  setenv("PEER", "xen3", 1);
  const Ran ran = run("xen2", "renew --force");
  unsetenv("PEER");
  BOOST_TEST(ran.status == 1);
  BOOST_TEST(contains(ran.said, "xen3 may have only its own certificate renewed"), ran.said);
}

BOOST_FIXTURE_TEST_CASE(a_question_that_is_none_gets_an_error, Hosts) {
  make_pool();
  const auto answer = [&](const std::string& asked) {
    const Ran ran = ask_for_admittance(asked);
    return json::parse(ran.said).value("error", ran.said);
  };
  BOOST_TEST(contains(answer(": |"), "asked nothing"));
  BOOST_TEST(contains(answer("echo nonsense |"), "makes no sense"));
  BOOST_TEST(contains(answer("printf '\\377\\n' |"), "makes no sense"));
  BOOST_TEST(contains(answer("printf '{\"request\":\"\\377\n' |"), "makes no sense"));
  BOOST_TEST(contains(answer("echo '{\"request\":\"none\",\"do\":\"renew\",\"name\":\"xen2\"}' |"),
                      "cannot read a request"));
}

// Whose end was never read is told so.
BOOST_FIXTURE_TEST_CASE(a_question_without_end_is_not_read_to_its_end, Hosts) {
  make_pool();
  const Ran ran = ask_for_admittance("(head -c 64M /dev/zero && echo all was read >&2) |");
  BOOST_TEST(contains(ran.said, "or too much"), ran.said);
  BOOST_TEST(!contains(ran.said, "all was read"), ran.said);
}

BOOST_FIXTURE_TEST_CASE(status_without_an_agent_says_how_to_start_it, Hosts) {
  make_pool();
  const Ran ran = run("xen1", "status");
  BOOST_TEST(ran.status == 1);
  BOOST_TEST(contains(ran.said, "pool web, generation 2"), ran.said);
  BOOST_TEST(contains(ran.said, "systemctl start specrep-agent"), ran.said);
}

BOOST_FIXTURE_TEST_CASE(status_and_plan_show_what_the_agent_sees, Hosts) {
  make_pool();
  BOOST_TEST(run("xen1",
                 "vm-protect web1 uuid=33333333-3333-4333-8333-333333333331 config=/x.cfg "
                 "memory-mib=512")
                 .status == 0);
  const std::string digest = specrep::sha256(read(folder / "xen1/pool.conf"));
  const FakeAgent agent(folder / "xen1/agent.sock",
                        {{"hosts",
                          {{{"name", "xen1"}, {"up", true}, {"generation", 3}, {"digest", digest}},
                           {{"name", "xen2"}, {"up", true}, {"generation", 2}, {"digest", "0"}}}},
                         {"guests",
                          {{{"name", "web1"},
                            {"host", "xen2"},
                            {"backup", "xen1"},
                            {"state", "protected"},
                            {"waiting", ""}}}}});
  const Ran status = run("xen1", "status");
  BOOST_TEST(status.status == 0, status.said);
  BOOST_TEST(contains(status.said, "xen1  coordinator  up     same"), status.said);
  BOOST_TEST(contains(status.said, "xen2  supporter    up     older"), status.said);
  BOOST_TEST(contains(status.said, "web1   replicate   xen2  xen1  protected"), status.said);
  const json parsed = json::parse(run("xen1", "status --json").said);
  BOOST_TEST(parsed["guests"][0]["host"] == "xen2");

  const Ran plan = run("xen1", "plan");
  BOOST_TEST(plan.status == 0);
  BOOST_TEST(contains(plan.said, "xen2     web1   its copy on xen1 goes on, without a copy"),
             plan.said);
  BOOST_TEST(contains(plan.said, "xen1     web1   stays on xen2, without a copy"), plan.said);
  const json losses = json::parse(run("xen1", "plan --json").said)["losses"];
  BOOST_TEST(losses.size() == 2u);
  BOOST_TEST(losses[1]["guests"][0]["fate"] == "goes on");
}

BOOST_FIXTURE_TEST_CASE(validate_lists_mistakes_and_passes_the_examples, Hosts) {
  for (const char* name : {"pool-two-hosts.conf", "pool-three-hosts.conf"}) {
    const Ran good = run("xen1", "validate " SPECREP_EXAMPLES "/" + std::string(name));
    BOOST_TEST(good.status == 0, good.said);
    BOOST_TEST(contains(good.said, "is good"));
  }
  write(folder / "bad.conf", "[pool]\nname = web\ngeneration = 0\n");
  const Ran bad = run("xen1", "validate " + (folder / "bad.conf").string());
  BOOST_TEST(bad.status == 1);
  BOOST_TEST(
      contains(bad.said, "bad.conf:2: the text of name has no quotes\n  write name = \"web\"\n"),
      bad.said);
  BOOST_TEST(contains(bad.said, "bad.conf:3: [pool]: generation = 0"), bad.said);
}

BOOST_AUTO_TEST_SUITE_END()
