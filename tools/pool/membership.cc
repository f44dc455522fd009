// init, join, eject, renew: which hosts are in the pool, and their certificates.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>

#include "libspecrep/pool/certificates.h"
#include "libspecrep/pool/file.h"
#include "tools/pool/commands.h"
#include "tools/pool/this_host.h"

namespace specrep::tools {

namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr Duration kAdmitTimeout = 120s;  // somebody may have to type a password
constexpr unsigned kSecret = 0600, kPublic = 0644;
constexpr const char* kServices = "systemctl enable --now specrep-listener specrep-agent";

std::string read_tls(const PoolPlaces& places, const std::string& name, const std::string& advice) {
  return pool::read_file(places.tls(name), pool::kConfigBytesMax, advice);
}

void write_tls(const PoolPlaces& places, const std::string& name, const std::string& text,
               unsigned mode) {
  pool::replace_file(places.tls(name), text, mode);
}

void check_no_pool(const PoolPlaces& places) {
  if (std::filesystem::exists(places.config))
    throw Error(
        "this host is in a pool already: there is " + places.config,
        "`specrep-pool eject` takes it out of that pool, on another host of it; then remove "
        "the file here");
}

pool::Host describe_this_host(const HostOptions& options, const std::string& other) {
  pool::Host host;
  host.uuid = make_uuid();
  host.name = options.name.empty() ? host_name() : options.name;
  host.management_address = options.address.empty() ? own_address(other) : options.address;
  host.replication_address = options.replication_address;
  host.memory_mib = options.memory_mib ? *options.memory_mib : memory_for_guests_mib();
  return host;
}

std::vector<std::pair<std::string, std::string>> section_of(const pool::Host& host) {
  std::vector<std::pair<std::string, std::string>> keys = {
      {"uuid", pool::toml_text(host.uuid)},
      {"name", pool::toml_text(host.name)},
      {"role", pool::toml_text(pool::to_string(host.role))},
      {"management-address", pool::toml_text(host.management_address)}};
  if (!host.replication_address.empty())
    keys.emplace_back("replication-address", pool::toml_text(host.replication_address));
  keys.emplace_back("memory-mib", std::to_string(host.memory_mib));
  return keys;
}

json to_json(const pool::Host& host) {
  return {{"uuid", host.uuid},
          {"name", host.name},
          {"management-address", host.management_address},
          {"replication-address", host.replication_address},
          {"memory-mib", host.memory_mib}};
}

pool::Host to_host(const json& json) {
  pool::Host host;
  host.uuid = json.at("uuid");
  host.name = json.at("name");
  host.management_address = json.at("management-address");
  host.replication_address = json.at("replication-address");
  host.memory_mib = json.at("memory-mib");
  return host;
}

std::string sign(const PoolPlaces& places, const std::string& request, const pool::Host& host) {
  const std::string advice = "certificates are made on the coordinator: it has ca.key";
  return pool::sign_request(request, host, read_tls(places, "ca.pem", advice),
                            read_tls(places, "ca.key", advice));
}

// Asks the coordinator's specrep-pool, over ssh.
json ask_by_ssh(const PoolPlaces& places, const std::string& host, const json& question) {
  // The administrator's ssh command is for sh; the host's name is not.
  const Companion ssh(
      {"/bin/sh", "-c", "exec " + places.ssh + " -- \"$0\" specrep-pool admit", host});
  return exchange(ssh.fd(), question, kAdmitTimeout, "specrep-pool on " + host);
}

// Asks the coordinator's specrep-pool through specrep-listener, which knows who asks.
json ask_as_member(const PoolPlaces& places, const pool::Host& coordinator, const json& question) {
  const Companion connection({places.agents.connect, coordinator.management_address, "renew"});
  return exchange(connection.fd(), question, kAdmitTimeout,
                  "specrep-listener on " + coordinator.name);
}

void say_untold(const std::vector<std::string>& untold) {
  for (const std::string& line : untold) std::cerr << "specrep-pool: " << line << "\n";
}

std::string date(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  char text[32] = "";
  std::tm parts{};
  if (gmtime_r(&seconds, &parts)) std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

}  // namespace

void init_pool(const PoolPlaces& places, const std::string& pool_name, const HostOptions& options) {
  check_no_pool(places);
  pool::Host host = describe_this_host(options, "");
  host.role = pool::Role::kCoordinator;
  pool::Edit edit(
      "# The pool's configuration, the same on all its hosts: see pool.conf(5).\n"
      "# Change it with specrep-pool, which tells the other hosts; comments stay.\n\n"
      "[pool]\nuuid = " +
      pool::toml_text(make_uuid()) + "\nname = " + pool::toml_text(pool_name) +
      "\ngeneration = 1\n\n[ha]\nenabled = true\narbiter = \"none\"\n");
  edit.add_section("host", section_of(host));
  pool::parse_config(edit.text(), "the new pool.conf");  // what the command line gave, too

  const std::string authority_key = pool::make_key();
  const std::string authority = pool::make_authority(authority_key, pool_name);
  const std::string key = pool::make_key();
  const std::string certificate =
      pool::sign_request(pool::make_request(key, host.name), host, authority, authority_key);
  write_tls(places, "ca.key", authority_key, kSecret);
  write_tls(places, "ca.pem", authority, kPublic);
  write_tls(places, "key.pem", key, kSecret);
  write_tls(places, "cert.pem", certificate, kPublic);
  // Last: with it the host is in the pool.
  pool::save_text(edit.text(), places.config);
  std::cout << "Pool " << pool_name << " has this host, " << host.name << " at "
            << host.management_address << ", as its coordinator, with " << host.memory_mib
            << " MiB for guests.\nNow start its services:\n  " << kServices
            << "\nand on each other host:\n  specrep-pool join " << host.management_address << "\n";
}

void join_pool(const PoolPlaces& places, const std::string& coordinator,
               const HostOptions& options) {
  check_no_pool(places);
  const pool::Host host =
      describe_this_host(options, coordinator.substr(coordinator.find('@') + 1));
  const std::string key = pool::make_key();
  const json answer = ask_by_ssh(
      places, coordinator,
      {{"do", "join"}, {"host", to_json(host)}, {"request", pool::make_request(key, host.name)}});
  const std::string text = answer.at("config"), authority = answer.at("authority"),
                    certificate = answer.at("certificate");
  const pool::Config config = pool::parse_config(text, "the pool.conf of " + coordinator);
  if (!pool::belongs(certificate, key, authority))
    throw Error("the certificate from " + coordinator + " is not for this host",
                "are the clocks of both hosts right?");
  write_tls(places, "ca.pem", authority, kPublic);
  write_tls(places, "key.pem", key, kSecret);
  write_tls(places, "cert.pem", certificate, kPublic);
  pool::save_text(text, places.config);
  std::cout << "This host, " << host.name << " at " << host.management_address << ", is in pool "
            << config.name << " now, with " << host.memory_mib
            << " MiB for guests.\nNow start its services:\n  " << kServices << "\n";
}

void admit(const PoolPlaces& places) {
  json answer;
  try {
    std::string line(pool::kConfigBytesMax, '\0');
    // Not by std::getline(), which takes all that comes.
    if (!std::cin.getline(line.data(), static_cast<std::streamsize>(line.size())))
      throw Error("specrep-pool admit was asked nothing, or too much",
                  "it is for `specrep-pool join` to call");
    const json question = json::parse(line.data());
    const std::string request = question.at("request");
    // By specrep-listener: a host may have its own certificate renewed, and no more.
    const char* const peer = std::getenv("SPECREP_PEER");
    if (peer != nullptr && (question.at("do") != "renew" || question.at("name") != peer))
      throw Error(std::string(peer) + " may have only its own certificate renewed");
    if (question.at("do") == "renew") {
      const pool::Config config = pool::parse_config(pool::load_text(places.config), places.config);
      const pool::Host* host = config.find_host(question.at("name"));
      if (!host) throw Error("that host is not in the pool", "`specrep-pool join` adds it");
      answer = {{"certificate", sign(places, request, *host)}};
    } else {
      const pool::Host host = to_host(question.at("host"));
      const std::string certificate =
          sign(places, request, host);  // also: is this the coordinator?
      PoolChange change(places);
      change.edit().add_section("host", section_of(host));
      say_untold(change.put_in_force(host.name));
      answer = {{"certificate", certificate},
                {"authority", read_tls(places, "ca.pem", "")},
                {"config", change.text()}};
    }
  } catch (const Error& error) {
    answer = {{"error", error.what()}, {"advice", error.advice()}};
  } catch (const json::exception& error) {
    answer = {{"error", std::string("the question makes no sense: ") + error.what()},
              {"advice", "is it the same version of specrep on both hosts?"}};
  }
  // What it says of a question may have bytes of that, which need not be text.
  std::cout << answer.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
}

void eject(const PoolPlaces& places, const std::string& host_name) {
  PoolChange change(places);
  const pool::Config& config = change.before();
  const pool::Host* host = config.find_host(host_name);
  if (!host)
    throw Error(host_name + " is not a host of the pool", "`specrep-pool status` lists them");
  if (host->role == pool::Role::kCoordinator)
    throw Error(host_name + " is the coordinator, which has the pool's certificate authority",
                "copy /etc/specrep/tls/ca.key to another host and change the roles of both in "
                "pool.conf first");
  if (host_name == own_name(places))
    throw Error("this host cannot eject itself", "run it on another host of the pool");
  for (const pool::Vm& vm : config.vms) {
    const auto named = std::find(vm.backup_hosts.begin(), vm.backup_hosts.end(), host_name);
    if (vm.preferred_host == host_name) change.edit().unset({"vm", vm.name}, "preferred-host");
    if (named == vm.backup_hosts.end()) continue;
    std::vector<std::string> left = vm.backup_hosts;
    std::erase(left, host_name);
    if (left.empty())
      change.edit().unset({"vm", vm.name}, "backup-hosts");
    else
      change.edit().set({"vm", vm.name}, "backup-hosts", pool::toml_list(left));
  }
  change.edit().remove_section({"host", host_name});
  say_untold(change.put_in_force());
  std::cout << host_name << " is not in the pool any more; the others refuse its certificate.\nOn "
            << host_name
            << ", when no guest runs there:\n  systemctl disable --now specrep-listener "
               "specrep-agent\n  rm -r /etc/specrep/pool.conf /etc/specrep/tls\n";
}

void renew(const PoolPlaces& places, bool force, bool by_ssh) {
  const std::string certificate = read_tls(places, "cert.pem", "`specrep-pool join HOST` makes it");
  const pool::CertificateFacts facts = pool::read_certificate(certificate);
  const auto authority_ends = pool::read_certificate(read_tls(places, "ca.pem", "")).ends;
  if (authority_ends - std::chrono::system_clock::now() < pool::kCertificateLife)
    std::cerr << "specrep-pool: the pool's certificate authority ends on " << date(authority_ends)
              << "\n  a new pool must be made before that, with `specrep-pool init`\n";
  if (!force && facts.ends - std::chrono::system_clock::now() > pool::kRenewBefore) {
    std::cout << "The certificate of " << facts.host << " is good until " << date(facts.ends)
              << "; it is renewed in its last " << pool::kRenewBefore.count() << " days.\n";
    return;
  }
  const pool::Config config = pool::parse_config(pool::load_text(places.config), places.config);
  const pool::Host* host = config.find_host(facts.host);
  if (!host) throw Error("this host, " + facts.host + ", is not in " + places.config);
  const std::string key = read_tls(places, "key.pem", "");
  const std::string request = pool::make_request(key, facts.host);
  const json question = {{"do", "renew"}, {"name", facts.host}, {"request", request}};
  const pool::Host& coordinator = config.coordinator();
  std::string renewed;
  if (host->role == pool::Role::kCoordinator)
    renewed = sign(places, request, *host);
  else if (by_ssh)
    renewed = ask_by_ssh(places, coordinator.management_address, question).at("certificate");
  else
    renewed = ask_as_member(places, coordinator, question).at("certificate");
  if (!pool::belongs(renewed, key, read_tls(places, "ca.pem", "")))
    throw Error("the certificate that the coordinator made is not for this host",
                "are the clocks of both hosts right?");
  write_tls(places, "cert.pem", renewed, kPublic);
  std::cout << "The certificate of " << facts.host << " is good until "
            << date(pool::read_certificate(renewed).ends) << ".\n";
}

}  // namespace specrep::tools
