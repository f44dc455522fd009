#include "tools/pool/changes.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>

#include "libspecrep/pool/certificates.h"

namespace specrep::tools {

namespace {

using nlohmann::json;

// The text here, or that of a host that the agent here has heard of a newer one from.
std::string newest_text(const PoolPlaces& places) {
  const std::string here = pool::load_text(places.config);
  const pool::Config config = pool::parse_config(here, places.config);
  std::uint64_t newest = config.generation;
  const pool::Host* newest_host = nullptr;
  json status;
  try {
    status = ask_here(places.agents, {{"ask", "status"}});
  } catch (const AgentSilent&) {
    return here;
  }
  for (const json& entry : status.value("hosts", json::array()))
    if (const std::uint64_t generation = entry.value("generation", std::uint64_t{0});
        generation > newest) {
      newest = generation;
      newest_host = config.find_host(entry.value("name", ""));
    }
  if (!newest_host) return here;
  return ask_host(places.agents, *newest_host, {{"ask", "get-config"}}).at("text");
}

// The folder, since the file itself is replaced.
int lock_folder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) flock(fd, LOCK_EX);
  return fd;
}

}  // namespace

std::string own_name(const PoolPlaces& places) {
  return pool::read_certificate(pool::load_text(places.tls("cert.pem"))).host;
}

PoolChange::PoolChange(const PoolPlaces& places)
    : places_(places),
      lock_(lock_folder(places.config)),
      edit_(newest_text(places)),
      before_(pool::parse_config(edit_.text(), places.config)) {}

PoolChange::~PoolChange() {
  if (lock_ >= 0) close(lock_);
}

std::vector<std::string> PoolChange::put_in_force(const std::string& but) {
  edit_.set({"pool", ""}, "generation", std::to_string(before_.generation + 1));
  // Nothing has been changed when this throws.
  const pool::Config after = pool::parse_config(edit_.text(), "pool.conf with this change");
  const std::string own = own_name(places_);
  const json message = {{"ask", "set-config"}, {"text", edit_.text()}};
  try {
    ask_here(places_.agents, message);
  } catch (const AgentSilent&) {
    pool::save_text(edit_.text(), places_.config);
  }
  std::vector<std::string> untold;
  for (const pool::Host& host : after.hosts) {
    if (host.name == own || host.name == but) continue;
    try {
      ask_host(places_.agents, host, message);
    } catch (const Error& error) {
      untold.push_back(host.name + " has not been told of the change: " + with_advice(error));
    }
  }
  return untold;
}

}  // namespace specrep::tools
