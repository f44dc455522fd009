#pragma once

#include <string>
#include <vector>

#include "libspecrep/pool/config.h"
#include "libspecrep/pool/edit.h"
#include "tools/pool/agents.h"

namespace specrep::tools {

// Where a host keeps what it knows of its pool; all can be elsewhere, for tests.
struct PoolPlaces {
  std::string config = pool::kConfigPath;
  std::string tls_folder = "/etc/specrep/tls";
  AgentPlaces agents;
  std::string ssh = "ssh -o ConnectTimeout=10";

  std::string tls(const std::string& name) const { return tls_folder + "/" + name; }
};

// The host's own name in the pool: that of its certificate. Throws Error when it is in none.
std::string own_name(const PoolPlaces& places);

// A change of pool.conf, on all hosts.
class PoolChange {
 public:
  // Begins with the newest pool.conf that a host of the pool has. Throws Error. Another command
  // that changes it on this host waits until this has gone.
  explicit PoolChange(const PoolPlaces& places);
  ~PoolChange();
  PoolChange(const PoolChange&) = delete;
  PoolChange& operator=(const PoolChange&) = delete;

  const pool::Config& before() const { return before_; }
  pool::Edit& edit() { return edit_; }

  // Puts what was edited into force here, as the next generation, and tells it to the other hosts.
  // Throws Error, and changes nothing, when it has mistakes. Returns what became of hosts that
  // could not be told: they take it from the others when they are back. `but` is not told.
  std::vector<std::string> put_in_force(const std::string& but = {});
  // Of the last put_in_force().
  const std::string& text() const { return edit_.text(); }

 private:
  const PoolPlaces& places_;
  int lock_ = -1;
  pool::Edit edit_;
  pool::Config before_;
};

}  // namespace specrep::tools
