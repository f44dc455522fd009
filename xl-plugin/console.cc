#include "xl-plugin/console.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "tools/printable.h"

namespace specrep::xl {

using tools::printable;

Console::Console(std::string command, bool json)
    : command_(std::move(command)),
      json_(json),
      progress_(std::cerr, isatty(STDERR_FILENO) == 1 && !json) {}

void Console::say(const std::string& text) {
  progress_.interrupt();
  if (!json_) std::cout << printable(text) << std::endl;
}

void Console::event(const nlohmann::json& event) {
  using nlohmann::json;
  if (json_) std::cout << event.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
}

void Console::copy_progress(const CopyProgress::Sample& sample) {
  if (!json_) progress_.show(sample);
}

void Console::warn(const std::string& text, const std::string& advice) {
  print("warning: ", text, advice);
}

void Console::error(const std::string& text, const std::string& advice) { print("", text, advice); }

void Console::relay(const std::string& from, const std::string& line) {
  progress_.interrupt();
  std::cerr << printable(from + ": " + line) << std::endl;
}

void Console::print(const std::string& label, const std::string& text, const std::string& advice) {
  progress_.interrupt();
  std::cerr << "xl " << command_ << ": " << label << printable(text) << "\n";
  if (!advice.empty()) std::cerr << "  " << printable(advice) << "\n";
  std::cerr << std::flush;
}

bool has_problem(const std::vector<wire::Finding>& findings) {
  return std::any_of(findings.begin(), findings.end(), [](const wire::Finding& finding) {
    return finding.severity() == wire::Finding::PROBLEM;
  });
}

}  // namespace specrep::xl
