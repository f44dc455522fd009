#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/pool/config.h"

namespace specrep::tools {

// A command whose stdin and stdout are one descriptor; its stderr is ours. Ended when this goes.
class Companion {
 public:
  explicit Companion(const std::vector<std::string>& command);  // throws Error
  ~Companion();
  Companion(const Companion&) = delete;
  Companion& operator=(const Companion&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
  pid_t process_ = 0;
};

// Sends an object of JSON as a line and returns the one that comes back. Throws Error, also what an
// answer {"error":..., "advice":...} says; `whom` is for that.
nlohmann::json exchange(int fd, const nlohmann::json& question, Duration timeout,
                        const std::string& whom);

// Where the agents are asked.
struct AgentPlaces {
  std::string socket = "/run/specrep/agent.sock";
  // Joins its stdin and stdout to a service of a host: CONNECT HOST agent.
  std::string connect;
};

// The agent of this host; throws AgentSilent, which says how to start it, when it does not run.
struct AgentSilent : Error {
  using Error::Error;
};
nlohmann::json ask_here(const AgentPlaces& places, const nlohmann::json& question);
// The agent of another host. Throws Error.
nlohmann::json ask_host(const AgentPlaces& places, const pool::Host& host,
                        const nlohmann::json& question);

}  // namespace specrep::tools
