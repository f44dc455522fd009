#include "tools/pool/this_host.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "libspecrep/error.h"

namespace specrep::tools {

namespace {

using nlohmann::json;

// A documentation address: nothing is sent to it, but it has a route.
constexpr const char* kSomewhere = "192.0.2.1";

// "total_memory           : 8191" of `xl info`.
std::optional<std::uint64_t> number_behind(const std::string& text, const std::string& key) {
  std::smatch match;
  if (!std::regex_search(text, match, std::regex("(?:^|\n)" + key + "\\s*:\\s*(\\d+)")))
    return std::nullopt;
  return std::stoull(match[1]);
}

// Paging takes 8 KiB for each MiB of the guest and 1 MiB for each processor, see
// libxl__get_required_paging_memory() of Xen; the rest is for up to 8 processors and for video
// memory.
std::uint64_t with_overhead(std::uint64_t memory_mib) {
  constexpr std::uint64_t kProcessorsMib = 8, kDevicesMib = 16;
  return memory_mib + memory_mib / 128 + kProcessorsMib + kDevicesMib;
}

// `memory = 512` of an xl configuration; a later line counts.
std::string value_in(const std::string& config, const std::string& key) {
  const std::regex line("^\\s*" + key + "\\s*=\\s*[\"']?([^\"'#\\s;]*)");
  std::istringstream lines(config);
  std::string value;
  std::smatch match;
  for (std::string text; std::getline(lines, text);)
    if (std::regex_search(text, match, line)) value = match[1];
  return value;
}

// The address from which packets to a host leave; empty if it has none.
std::string address_towards(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_DGRAM;
  if (host.empty() || getaddrinfo(host.c_str(), "9", &hints, &found) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> all(found, freeaddrinfo);
  const int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  char text[NI_MAXHOST] = "";
  const bool known = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) == 0 &&
                     getnameinfo(reinterpret_cast<sockaddr*>(&own), size, text, sizeof text,
                                 nullptr, 0, NI_NUMERICHOST) == 0;
  if (fd >= 0) close(fd);
  return known ? text : "";
}

std::uint64_t number(const std::string& text) {
  try {
    return std::stoull(text);
  } catch (const std::exception&) {
    return 0;
  }
}

}  // namespace

std::optional<std::string> output_of(const std::vector<std::string>& command) {
  std::string line;
  for (const std::string& word : command) {
    line += line.empty() ? "'" : " '";
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += "'";
  }
  // Each word is quoted above.
  FILE* pipe = popen((line + " 2>/dev/null").c_str(), "re");  // NOLINT(bugprone-command-processor)
  if (!pipe) return std::nullopt;
  std::string text;
  std::array<char, 4096> buffer;
  for (std::size_t got = 0; (got = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    text.append(buffer.data(), got);
  const int status = pclose(pipe);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
  return text;
}

std::string host_name() {
  char name[256] = "";
  if (gethostname(name, sizeof name - 1) != 0 || name[0] == 0)
    throw Error("this host has no name", "give --name");
  const std::string text = name;
  return text.substr(0, text.find('.'));
}

std::string own_address(const std::string& other) {
  // What ssh calls the other host may be no name to anybody else.
  for (const std::string& to : {other, std::string(kSomewhere)}) {
    const std::string address = address_towards(to);
    if (!address.empty() && !address.starts_with("127.") && address != "::1") return address;
  }
  throw Error("the address at which other hosts reach this one is not clear", "give --address");
}

std::uint64_t memory_for_guests_mib() {
  const auto info = output_of({"xl", "info"});
  const auto list = output_of({"xl", "list"});
  const auto free_mib = info ? number_behind(*info, "free_memory") : std::nullopt;
  if (!free_mib || !list)
    throw Error("xl does not say how much memory this host has",
                "is it running Xen? Or give --memory");
  std::uint64_t memory_mib = *free_mib;
  std::istringstream lines(*list);
  std::string line;
  std::getline(lines, line);  // the headers
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t id = 0, mib = 0;
    if (words >> name >> id >> mib && id != 0) memory_mib += mib;
  }
  return memory_mib;
}

std::string make_uuid() { return boost::uuids::to_string(boost::uuids::random_generator()()); }

GuestFacts guest_facts(const std::string& name, const std::string& config_path) {
  if (const auto list = output_of({"xl", "list", "-l", name})) {
    const json parsed = json::parse(*list, nullptr, false);
    const json domain = parsed.is_array() && !parsed.empty() ? parsed[0] : parsed;
    const json config =
        domain.is_object() ? domain.value("config", json::object()) : json::object();
    const std::uint64_t kib =
        config.value(json::json_pointer("/b_info/max_memkb"), std::uint64_t{0});
    const std::string uuid = config.value(json::json_pointer("/c_info/uuid"), "");
    if (kib != 0 && !uuid.empty()) return {uuid, with_overhead(kib / 1024)};
  }
  std::ifstream file(config_path);
  if (!file)
    throw Error(
        "there is no " + config_path,
        "give the guest's xl configuration with config=PATH; it must be there on all hosts");
  std::ostringstream text;
  text << file.rdbuf();
  const std::uint64_t mib =
      std::max(number(value_in(text.str(), "memory")), number(value_in(text.str(), "maxmem")));
  if (mib == 0)
    throw Error(config_path + " does not say how much memory the guest has", "give memory-mib=MIB");
  return {value_in(text.str(), "uuid"), with_overhead(mib)};
}

}  // namespace specrep::tools
