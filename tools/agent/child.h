#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace specrep::tools {

// A command that runs beside the agent; what it prints, stdout and stderr together, is collected.
// It is not ended with this object.
class Child {
 public:
  // Throws Error when it cannot be run.
  explicit Child(const std::vector<std::string>& command);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // The exit status when it has ended; 255 if by a signal. Never waits.
  std::optional<int> ended();
  // The end of what it printed, in one line.
  std::string said() const;

 private:
  void read_output();

  pid_t process_ = 0;
  int output_ = -1;
  std::string printed_;
};

// The last lines of a text, without blank ones, in one line of a length that fits into a log.
std::string last_words(const std::string& text);

}  // namespace specrep::tools
