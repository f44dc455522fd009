#pragma once

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace specrep {

// The one error type. `what()` says what was attempted, on which domain or host, and why it
// failed; `advice()` says what the operator can do, and may be empty.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what, std::string advice = {})
      : std::runtime_error(what), advice_(std::move(advice)) {}

  const std::string& advice() const { return advice_; }

 private:
  std::string advice_;
};

// "WHAT: what the system says of `error`"
inline std::string errno_text(const std::string& what, int error = errno) {
  return what + ": " + std::strerror(error);
}

// In one line, for a log or another process.
inline std::string with_advice(const Error& error) {
  return std::string(error.what()) + (error.advice().empty() ? "" : "; " + error.advice());
}

}  // namespace specrep
