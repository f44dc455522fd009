#include "xl-plugin/far_failure.h"

#include <sys/wait.h>

#include "xl-plugin/process.h"

namespace specrep::xl {

namespace {

constexpr int kCommandNotFound = 127;  // sh

bool mentions(const std::string& text, const char* what) {
  return text.find(what) != std::string::npos;
}

}  // namespace

Error explain(const FarFailure& failure) {
  const std::string said = failure.last_line.empty() ? "" : ": " + failure.last_line;
  const std::string by_hand = failure.own_command
                                  ? "run the command of -s by hand"
                                  : "try `ssh " + failure.host + " xl remus-spec-receive`";
  const int exited =
      failure.status && WIFEXITED(*failure.status) ? WEXITSTATUS(*failure.status) : -1;

  if (!failure.garbage.empty())
    return Error(failure.host + ": " + failure.garbage,
                 by_hand + "; start-up files of the shell there must print nothing");
  if (!failure.status) return Error(failure.host + " did not answer in time" + said, by_hand);
  if (failure.greeted)
    return Error(
        "specrep on " + failure.host + " ended (" + describe_status(*failure.status) + ")" + said,
        "its log is in /var/log/specrep on " + failure.host);
  // The words are those of Xen's own xl, which gets the command where our front end is missing.
  if (exited == kCommandNotFound || mentions(failure.last_line, "command not implemented"))
    return Error("specrep is not installed on " + failure.host + said,
                 "install it there; " + by_hand);
  if (exited == kSshFailed)
    return Error("cannot reach " + failure.host + said,
                 failure.own_command ? by_hand
                                     : "`ssh " + failure.host +
                                           " true` must work for root, with a key or a password");
  return Error("specrep on " + failure.host + " did not start (" +
                   describe_status(*failure.status) + ")" + said,
               by_hand);
}

}  // namespace specrep::xl
