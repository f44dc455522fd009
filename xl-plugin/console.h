#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libspecrep/error.h"
#include "specrep.pb.h"
#include "xl-plugin/progress.h"

namespace specrep::xl {

// Everything that a command tells the operator: what happens goes to stdout, or with --json nothing
// but JSON lines; progress, warnings and errors go to stderr. Each text is one line, and printable.
class Console {
 public:
  // command: "remus-spec", as it stands in front of warnings and errors.
  Console(std::string command, bool json);

  void say(const std::string& text);
  void event(const nlohmann::json& event);  // only with --json
  void copy_progress(const CopyProgress::Sample& sample);
  void warn(const std::string& text, const std::string& advice = {});
  void error(const std::string& text, const std::string& advice = {});
  // A line that came from elsewhere: "h2: ...".
  void relay(const std::string& from, const std::string& line);

 private:
  void print(const std::string& label, const std::string& text, const std::string& advice);

  std::string command_;
  bool json_;
  CopyProgress progress_;
};

// Whether one of them is a PROBLEM.
bool has_problem(const std::vector<wire::Finding>& findings);

}  // namespace specrep::xl
