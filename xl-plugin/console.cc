#include "xl-plugin/console.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

namespace specrep::xl {

Console::Console(std::string command, bool json)
    : command_(std::move(command)),
      json_(json),
      progress_(std::cerr, isatty(STDERR_FILENO) == 1 && !json) {}

void Console::say(const std::string& text) {
  progress_.interrupt();
  if (!json_) std::cout << text << std::endl;
}

void Console::event(const nlohmann::json& event) {
  if (json_) std::cout << event.dump() << std::endl;
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
  std::cerr << from << ": " << line << std::endl;
}

void Console::print(const std::string& label, const std::string& text, const std::string& advice) {
  progress_.interrupt();
  std::cerr << "xl " << command_ << ": " << label << text << "\n";
  if (!advice.empty()) std::cerr << "  " << advice << "\n";
  std::cerr << std::flush;
}

bool has_problem(const std::vector<wire::Finding>& findings) {
  return std::any_of(findings.begin(), findings.end(), [](const wire::Finding& finding) {
    return finding.severity() == wire::Finding::PROBLEM;
  });
}

}  // namespace specrep::xl
