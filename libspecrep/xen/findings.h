#pragma once

#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

#include "specrep.pb.h"

namespace specrep::xen {

// Collects findings in the order in which they are read best.
class Findings {
 public:
  void ok(const std::string& subject, const std::string& what) {
    add(wire::Finding::OK, subject, what, {});
  }
  void warning(const std::string& subject, const std::string& what, const std::string& advice) {
    add(wire::Finding::WARNING, subject, what, advice);
  }
  void problem(const std::string& subject, const std::string& what, const std::string& advice) {
    add(wire::Finding::PROBLEM, subject, what, advice);
  }
  std::vector<wire::Finding> take() { return std::move(all_); }

 private:
  void add(wire::Finding::Severity severity, const std::string& subject, const std::string& what,
           const std::string& advice) {
    wire::Finding finding;
    finding.set_severity(severity);
    finding.set_subject(subject);
    finding.set_what(what);
    finding.set_advice(advice);
    all_.push_back(std::move(finding));
  }

  std::vector<wire::Finding> all_;
};

inline std::string mebibytes(std::uint64_t kib) {
  return std::to_string((kib + 1023) / 1024) + " MiB";
}

// Those of `modules` that the running kernel neither has nor could load, separated by blanks.
std::string missing_kernel_modules(std::initializer_list<const char*> modules);

}  // namespace specrep::xen
