#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "libspecrep/pool/config.h"

namespace {

using namespace specrep::pool;

// Its line numbers are those of the table below.
constexpr const char* kGood = R"(# The pool of the web servers.
[pool]
uuid = "11111111-1111-4111-8111-111111111111"
name = "web"
generation = 7

[ha]
enabled = true
timeout-ms = 1500
host-failures-to-tolerate = 1
arbiter = "etcd:http://10.0.0.11:2379,http://[fd00::12]:2379"
yield = "primary"
fencing = "watchdog"
watchdog-s = 12

[[host]]
uuid = "22222222-2222-4222-8222-222222222221"
name = "xen1"
role = "coordinator"
management-address = "10.0.0.1"
replication-address = "10.1.0.1"
memory-mib = 16384

[[host]]
uuid = "22222222-2222-4222-8222-222222222222"
name = "xen2"
role = "supporter"
management-address = "10.0.0.2"
replication-address = "10.1.0.2"
memory-mib = 16384

[[host]]
uuid = "22222222-2222-4222-8222-222222222223"
name = "xen3"
role = "supporter"
management-address = "xen3.example"
memory-mib = 8192

[[vm]]
name = "web1"
uuid = "33333333-3333-4333-8333-333333333331"
config = "/etc/xen/web1.cfg"
memory-mib = 2048
protection = "replicate"
ha-restart-priority = 0
ha-always-run = true
preferred-host = "xen1"
backup-hosts = ["xen2", "xen3"]
max-delay-ms = 250
max-overhead-percent = 12.5
buffer-mib = 64
disk-rate-mib = 100
yield = "backup"

[[vm]]
name = "batch"
uuid = "33333333-3333-4333-8333-333333333332"
config = "/etc/xen/batch.cfg"
memory-mib = 1024
protection = "restart"
ha-restart-priority = "best-effort"

[[vm]]
name = "scratch"
uuid = "33333333-3333-4333-8333-333333333333"
config = "/etc/xen/scratch.cfg"
memory-mib = 512
protection = "none"
)";

// The good file with one of its lines put in another way.
std::string with_line(std::size_t number, const std::string& replacement) {
  const std::string good = kGood;
  std::size_t begin = 0;
  for (std::size_t i = 1; i < number; ++i) begin = good.find('\n', begin) + 1;
  return good.substr(0, begin) + replacement + good.substr(good.find('\n', begin));
}

bool contains(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

std::string describe(const std::vector<Mistake>& mistakes) {
  std::string text;
  for (const Mistake& mistake : mistakes)
    text += std::to_string(mistake.line) + ": " + mistake.what + "; " + mistake.cure + "\n";
  return text;
}

struct Case {
  std::size_t line;         // that is replaced
  const char* replacement;  // by this
  std::size_t told_line;
  const char* what;  // words of the message
  const char* cure;
};

// Each is the only mistake of its file, and the only one that is told.
const Case kCases[] = {
    // Not TOML
    {4, "name = web", 4, "the text of name has no quotes", "name = \"web\""},
    {4, "name = \"web", 4, "the text of name does not end", "closing \""},
    {4, "name = 'web", 4, "the text of name does not end", "closing '"},
    {4, "name = \"web\" servers", 4, "something stands behind the value of name", "#"},
    {4, "name = \"we\\b1\\q\"", 4, "a \\ in name that TOML does not know", "single quotes"},
    {4, "name = \"web\"\nname = \"web\"", 5, "a second name", "remove one"},
    {4, "name = \"w\xff\"", 4, "no UTF-8", "save the file as UTF-8"},
    {5, "generation =", 5, "generation has no value", "behind the ="},
    {5, "generation = 7\nthe newest", 6, "the newest is no key with a value", "KEY = VALUE"},
    {5, "generation: 7", 5, "generation: 7 is no key with a value", "KEY = VALUE"},
    {7, "[ha", 7, "[ha is no section", "write [ha]"},
    {8, "enabled = yes", 8, "enabled = yes is no TOML", "write true"},
    {8, "enabled = False", 8, "enabled = False is no TOML", "write false"},
    {9, "timeout-ms = 1500ms", 9, "timeout-ms = 1500ms is no number", "unit is in the key's name"},
    {22, "memory-mib = 16 GiB", 22, "memory-mib = 16 GiB is no number", "digits alone"},
    {24, "[[host]", 24, "[[host] is no section", "write [[host]]"},
    {24, "[host]", 24, "[host] stands here with other brackets", "write [[host]]"},
    {48, "backup-hosts = [\"xen2\", \"xen3\"", 48, "backup-hosts is a list that does not end",
     "[\"xen1\", \"xen2\"]"},
    {6, "\n[pool]\nname = \"web\"", 7, "a second section [pool]", "into the first"},
    // Sections and keys
    {1, "name = \"web\"", 1, "name stands before the first section", "below [pool]"},
    {15, "[hots]\nname = \"xen0\"\n", 15, "no section hots", "did you mean host?"},
    {15, "\n[storage]\npath = \"/\"\n", 16, "no section storage",
     "[pool], [ha], [[host]] or [[vm]]"},
    {9, "timeout = 1500", 9, "[ha]: there is no key timeout", "did you mean timeout-ms?"},
    {48, "backup-host = [\"xen2\"]", 48, "vm web1: there is no key backup-host",
     "did you mean backup-hosts?"},
    {35, "pool-role = 1\nrole = \"supporter\"", 35, "host xen3: there is no key pool-role",
     "remove it"},
    {3, "", 2, "[pool]: uuid is missing", "add it"},
    {22, "", 16, "host xen1: memory-mib is missing", "add it"},
    {42, "", 39, "vm web1: config is missing", "pool.conf(5)"},
    {60, "", 55, "vm batch: protection is missing", "add it"},
    // Types
    {9, "timeout-ms = \"1500\"", 9, "timeout-ms is a text where a whole number belongs",
     "timeout-ms = 1500, without quotes"},
    {9, "timeout-ms = 1500.5", 9, "timeout-ms is a number with a point", "timeout-ms = "},
    {8, "enabled = 1", 8, "enabled is a whole number where true or false belongs", "true"},
    {8, "enabled = \"true\"", 8, "enabled is a text where true or false belongs", "enabled = true"},
    {4, "name = 5", 4, "name is a whole number where a text belongs", "name = \"5\""},
    {4, "name = \"\"", 4, "name is empty", "give it a value"},
    {48, "backup-hosts = \"xen2\"", 48, "backup-hosts is a text where a list belongs",
     "backup-hosts = [\"xen2\"]"},
    {48, "backup-hosts = [\"xen2\", 3]", 48, "backup-hosts has a whole number", "in quotes"},
    {50, "max-overhead-percent = \"5\"", 50, "max-overhead-percent is a text", "= 0.1"},
    // Values
    {3, "uuid = \"web\"", 3, "is no UUID", "uuidgen"},
    {4, "name = \"web servers\"", 4, "is not possible", "letters, digits"},
    {5, "generation = 0", 5, "generation = 0 is out of range", "from 1"},
    {9, "timeout-ms = 50", 9, "timeout-ms = 50 is out of range", "from 100 to 600000"},
    {10, "host-failures-to-tolerate = -1", 10, "= -1 is out of range", "from 0 to 3"},
    {10, "host-failures-to-tolerate = 3", 10, "leaves no host of the pool's 3", "at most 2"},
    {11, "arbiter = \"etcd://10.0.0.11:2379\"", 11, "does not begin with http://",
     "etcd:http://HOST:2379"},
    {11, "arbiter = \"etcd:http://10.0.0.11:99999\"", 11, "no port from 1 to 65535", "HOST:2379"},
    {11, "arbiter = \"etcd:http://\"", 11, "has no host", "HOST"},
    {11, "arbiter = \"etcd:http://[10.0.0.11]:2379\"", 11, "no IPv6 address in its brackets",
     "HOST"},
    {11, "arbiter = \"file:shared\"", 11, "path is not absolute", "file:/FOLDER"},
    {11, "arbiter = \"zookeeper:zk1\"", 11, "is no arbiter", "\"none\""},
    {11, "arbiter = \"etcd:https://e1?ca=/x.pem\"", 11, "\"ca\" is not one of cacert", "HOST"},
    {11, "arbiter = \"none\"", 11, "more than two hosts need an arbiter", "etcd:http://"},
    {11, "", 7, "more than two hosts need an arbiter", "etcd:http://"},
    {12, "yield = \"me\"", 12, "yield = \"me\" is not known", "\"primary\" or \"backup\""},
    {13, "fencing = \"stonith\"", 13, "\"stonith\" is not known", "\"watchdog\" or \"none\""},
    {14, "watchdog-s = 1", 14, "watchdog-s = 1 is out of range", "from 2 to 600"},
    {19, "role = \"master\"", 19, "role = \"master\" is not known",
     "\"coordinator\" or \"supporter\""},
    {19, "role = \"supporter\"", 16, "no host is the coordinator", "role = \"coordinator\""},
    {27, "role = \"coordinator\"", 27, "a second coordinator; the first is in line 19",
     "all hosts but one"},
    {25, "uuid = \"22222222-2222-4222-8222-222222222221\"", 25, "is that of host xen1, line 17",
     "uuidgen"},
    {38,
     "\n[[host]]\nname = \"xen1\"\nuuid = \"22222222-2222-4222-8222-222222222224\"\n"
     "role = \"supporter\"\nmanagement-address = \"xen4\"\nmemory-mib = 4096\n",
     40, "is that of host xen1, line 18", "its own"},
    {28, "management-address = \"10.0.0.1\"", 28, "is that of host xen1, line 20", "its own"},
    {29, "replication-address = \"10.1.0.1\"", 29, "is that of host xen1, line 21", "its own"},
    {28, "management-address = \"10.0.0.2:22\"", 28, "has a port", "= \"10.0.0.2\""},
    {28, "management-address = \"https://10.0.0.2\"", 28, "is a URL", "alone"},
    {28, "management-address = \"[fd00::2]\"", 28, "has brackets", "without them"},
    {28, "management-address = \"localhost\"", 28, "means each host itself", "other hosts reach"},
    {28, "management-address = \"10.0.0.256\"", 28, "is no address", "IP address"},
    {22, "memory-mib = 1", 22, "memory-mib = 1 is out of range", "from 64"},
    {40, "name = \"7\"", 40, "would be the id of a domain", "put a letter"},
    {56, "name = \"web1\"", 56, "is that of vm web1, line 40", "its own"},
    {57, "uuid = \"33333333-3333-4333-8333-333333333331\"", 57, "is that of vm web1, line 41",
     "uuidgen"},
    {57, "uuid = \"11111111-1111-4111-8111-111111111111\"", 57, "is that of [pool], line 3",
     "uuidgen"},
    {42, "config = \"web1.cfg\"", 42, "is a relative path", "/etc/xen/web1.cfg"},
    {42, "config = \"/etc/xen/\"", 42, "is a folder", "name the file"},
    {58, "config = \"/etc/xen/web1.cfg\"", 58, "is that of vm web1, line 42", "its own"},
    {44, "protection = \"mirror\"", 44, "\"mirror\" is not known",
     "\"replicate\", \"restart\" or \"none\""},
    {45, "ha-restart-priority = 10", 45, "= 10 is out of range", "from 0 to 9"},
    {45, "ha-restart-priority = \"high\"", 45, "\"high\" is not known", "\"best-effort\""},
    {68, "protection = \"none\"\nha-always-run = true", 69, "no effect without protection",
     "protection = \"restart\""},
    {47, "preferred-host = \"xen9\"", 47, "names \"xen9\", which is no host", "did you mean xen1?"},
    {48, "backup-hosts = [\"xen2\", \"mars\"]", 48, "names \"mars\", which is no host",
     "write xen1, xen2 or xen3"},
    {48, "backup-hosts = [\"xen2\", \"xen2\"]", 48, "names \"xen2\" twice", "remove one"},
    {48, "backup-hosts = []", 48, "backup-hosts is empty", "any host will do"},
    {48, "backup-hosts = [\"xen1\"]", 48, "names the preferred host and no other", "another host"},
    {60, "protection = \"replicate\"\nbackup-hosts = [\"xen2\"]", 61,
     "leaves one host for the guest and its copy", "as preferred-host"},
    {49, "max-delay-ms = 10", 49, "max-delay-ms = 10 is out of range", "from 20 to 60000"},
    {50, "max-overhead-percent = 95", 50, "= 95 is out of range", "from 0.1 to 90"},
    {50, "epoch-ms = 100", 49, "both epoch-ms and max-delay-ms", "remove one"},
    {51, "buffer-mib = 0", 51, "buffer-mib = 0 is out of range", "from 1 to 1024"},
    {52, "disk-rate-mib = -5", 52, "disk-rate-mib = -5 is out of range", "from 0"},
    {53, "yield = true", 53, "yield is true or false where a text belongs", "\"true\""},
    // Memory
    {43, "memory-mib = 20000", 43, "more than any of its hosts has", "smaller"},
    {61,
     "ha-restart-priority = 1\n\n[[vm]]\nname = \"big\"\n"
     "uuid = \"33333333-3333-4333-8333-333333333334\"\nconfig = \"/etc/xen/big.cfg\"\n"
     "memory-mib = 14500\nprotection = \"restart\"",
     10, "host-failures-to-tolerate = 1: without xen2 no host has memory for big",
     "smaller number"},
    {61,
     "\n[[vm]]\nname = \"big\"\n"
     "uuid = \"33333333-3333-4333-8333-333333333334\"\nconfig = \"/etc/xen/big.cfg\"\n"
     "memory-mib = 15000\nprotection = \"replicate\"",
     62, "vm big: no host has memory for its copy", "restart"},
    {61,
     "\n[[vm]]\nname = \"big1\"\nuuid = \"33333333-3333-4333-8333-333333333334\"\n"
     "config = \"/etc/xen/big1.cfg\"\nmemory-mib = 15000\nprotection = \"restart\"\n\n"
     "[[vm]]\nname = \"big2\"\nuuid = \"33333333-3333-4333-8333-333333333335\"\n"
     "config = \"/etc/xen/big2.cfg\"\nmemory-mib = 15000\nprotection = \"restart\"\n",
     69, "vm big2: no host has memory for it when all guests run", "best-effort"},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(pool_config)

BOOST_AUTO_TEST_CASE(a_good_file_is_read) {
  const Reading reading = read_config(kGood);
  BOOST_TEST(describe(reading.mistakes) == "");
  const Config& config = reading.config;
  BOOST_TEST(config.uuid == "11111111-1111-4111-8111-111111111111");
  BOOST_TEST(config.name == "web");
  BOOST_TEST(config.generation == 7u);
  BOOST_TEST(config.ha.enabled);
  BOOST_TEST(config.ha.timeout_ms == 1500);
  BOOST_TEST(config.ha.host_failures_to_tolerate == 1);
  BOOST_TEST(config.ha.arbiter == "etcd:http://10.0.0.11:2379,http://[fd00::12]:2379");
  BOOST_CHECK(config.ha.yield == Yield::kPrimary);
  BOOST_CHECK(config.ha.fencing == Fencing::kWatchdog);
  BOOST_TEST(config.ha.watchdog_s == 12);
  BOOST_REQUIRE(config.hosts.size() == 3u);
  BOOST_TEST(config.coordinator().name == "xen1");
  BOOST_TEST(config.hosts[0].uuid == "22222222-2222-4222-8222-222222222221");
  BOOST_TEST(config.hosts[0].replication_address == "10.1.0.1");
  BOOST_TEST(config.hosts[2].management_address == "xen3.example");
  BOOST_TEST(config.hosts[2].replication_address == "xen3.example");
  BOOST_TEST(config.hosts[2].memory_mib == 8192u);
  BOOST_REQUIRE(config.vms.size() == 3u);
  const Vm& web = config.vms[0];
  BOOST_TEST(web.name == "web1");
  BOOST_TEST(web.config == "/etc/xen/web1.cfg");
  BOOST_TEST(web.memory_mib == 2048u);
  BOOST_CHECK(web.protection == Protection::kReplicate);
  BOOST_TEST(web.ha_restart_priority.value() == 0);
  BOOST_TEST(web.ha_always_run);
  BOOST_TEST(web.preferred_host == "xen1");
  BOOST_TEST(web.backup_hosts.size() == 2u);
  BOOST_TEST(web.max_delay_ms.value() == 250);
  BOOST_TEST(web.max_overhead_percent.value() == 12.5);
  BOOST_TEST(!web.epoch_ms);
  BOOST_TEST(web.buffer_mib.value() == 64);
  BOOST_TEST(web.disk_rate_mib.value() == 100);
  BOOST_CHECK(web.yield == Yield::kBackup);
  const Vm& batch = config.vms[1];
  BOOST_TEST(!batch.ha_restart_priority);  // best-effort
  BOOST_TEST(batch.ha_always_run);         // the default of what is protected
  BOOST_CHECK(batch.yield == Yield::kPrimary);
  BOOST_TEST(!config.vms[2].ha_always_run);
  BOOST_TEST(config.vms[2].ha_restart_priority.value() == 1);
}

BOOST_AUTO_TEST_CASE(allowed_hosts_come_in_their_order) {
  Config config = read_config(kGood).config;
  const auto names = [&](const Vm& vm) {
    std::string text;
    for (const Host* host : config.allowed_hosts(vm)) text += host->name + " ";
    return text;
  };
  BOOST_TEST(names(config.vms[0]) == "xen1 xen2 xen3 ");
  config.vms[0].backup_hosts = {"xen3"};
  BOOST_TEST(names(config.vms[0]) == "xen1 xen3 ");
  config.vms[1].preferred_host = "xen2";
  BOOST_TEST(names(config.vms[1]) == "xen2 xen1 xen3 ");
}

BOOST_AUTO_TEST_CASE(every_mistake_is_told_with_its_line_and_cure) {
  for (const Case& it : kCases) {
    BOOST_TEST_CONTEXT("line " << it.line << ": " << it.replacement) {
      const auto mistakes = read_config(with_line(it.line, it.replacement)).mistakes;
      BOOST_TEST_CONTEXT("told:\n" << describe(mistakes)) {
        BOOST_TEST(mistakes.size() == 1u);
        if (mistakes.empty()) continue;
        BOOST_TEST(mistakes[0].line == it.told_line);
        BOOST_TEST(contains(mistakes[0].what, it.what));
        BOOST_TEST(contains(mistakes[0].cure, it.cure));
      }
    }
  }
  BOOST_TEST(std::size(kCases) >= 90u);
}

BOOST_AUTO_TEST_CASE(all_mistakes_are_told_at_once) {
  const std::string text = R"([pool]
uuid = web
name = "web"
generation = 1
[host
uuid = "22222222-2222-4222-8222-222222222221"
name = "xen1"
role = "boss"
management-address = 10.0.0.1
memory = 16384
[[host]
name = xen2
role = "supporter"
memory-mib = "8192"
[ha]
enabled = yes
arbiter = "none"
[ha]
timeout-ms = 10
)";
  const auto mistakes = read_config(text).mistakes;
  std::vector<std::size_t> lines;
  for (const Mistake& mistake : mistakes) lines.push_back(mistake.line);
  // 5: the brackets, and that memory-mib is missing.
  const std::vector<std::size_t> expected = {2, 5, 5, 8, 9, 10, 11, 12, 14, 16, 18};
  BOOST_TEST_CONTEXT(describe(mistakes)) {
    BOOST_TEST(lines == expected, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(an_empty_file_lacks_a_pool_and_hosts) {
  BOOST_TEST(describe(read_config("").mistakes) ==
             "1: there is no section [pool]; add it, with uuid, name and generation\n"
             "1: there is no host; add a section [[host]] for each\n");
}

BOOST_AUTO_TEST_CASE(a_file_may_end_anywhere) {
  const std::string good = kGood;
  for (std::size_t size = 0; size < good.size(); size += 7) {
    const Reading reading = read_config(good.substr(0, size));
    for (const Mistake& mistake : reading.mistakes) {
      BOOST_TEST(mistake.line >= 1u);
      BOOST_TEST(!mistake.what.empty());
      BOOST_TEST(!mistake.cure.empty());
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_configuration_is_refused) {
  for (const std::string& text :
       {std::string(5000, '['), std::string(300, '\n') + "=", std::string("\0\1\2", 3),
        std::string("pool = 1\nhost = 2\nvm = [1, 2]\nha = []"), std::string("a\u3001 = 1"),
        std::string("a\u2ebf"), std::string("\u1681")})
    BOOST_TEST(!read_config(text).mistakes.empty());
}

BOOST_AUTO_TEST_CASE(an_error_lists_all_mistakes_with_file_and_line) {
  std::string text = with_line(4, "name = \"\"");
  text.replace(text.find("\"coordinator\""), 13, "\"boss\"");
  try {
    parse_config(text, "pool.conf");
    BOOST_FAIL("it was taken");
  } catch (const specrep::Error& error) {
    BOOST_TEST(
        contains(error.what(), "pool.conf has 2 mistakes:\npool.conf:4: [pool]: name is empty"));
    BOOST_TEST(contains(error.what(), "\npool.conf:19: host xen1: role = \"boss\" is not known"));
  }
  BOOST_TEST(parse_config(kGood).name == "web");
}

BOOST_AUTO_TEST_CASE(a_file_is_replaced_whole) {
  const auto folder = std::filesystem::temp_directory_path() / "specrep-pool-config-test";
  const std::string path = folder / "pool.conf";
  std::filesystem::remove_all(folder);
  save_text(kGood, path);
  BOOST_TEST(load_text(path) == kGood);
  save_text("short", path);
  BOOST_TEST(load_text(path) == "short");
  BOOST_TEST(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
  std::filesystem::remove_all(folder);
  BOOST_CHECK_THROW(load_text(path), specrep::Error);
}

BOOST_AUTO_TEST_SUITE_END()
