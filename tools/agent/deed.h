#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/pool/agent.h"
#include "tools/agent/child.h"

namespace specrep::tools {

// An action of the agent that is being carried out: a command, in a unit of systemd's where what it
// starts must outlive the agent.
class Deed {
 public:
  // Throws Error when it cannot be begun.
  Deed(const pool::Action& action, const pool::Config& config);

  const pool::Action& action() const { return action_; }
  // Empty once it has succeeded; why it failed, once it has; nothing before.
  std::optional<std::string> ended();

 private:
  const pool::Action action_;
  std::string uuid_;
  std::string output_;  // the file that has what the unit printed; empty: the child's own
  std::unique_ptr<Child> child_;
  TimePoint looked_{};
};

// As an argument list; for tests, too.
std::vector<std::string> protect_command(const pool::Vm& vm, const pool::Host& backup,
                                         const pool::Ha& ha);

}  // namespace specrep::tools
