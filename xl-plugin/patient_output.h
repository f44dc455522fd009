#pragma once

#include <memory>
#include <ostream>

namespace specrep::xl {

// While one lives, what is written to two streams waits for whoever reads it, on a thread of its
// own: a terminal that was stopped (Ctrl-S), or a pager in which nobody reads on, must not hold up
// who has to act when a host is lost. Texts come in the order in which they were flushed, but that
// those of the one stream do not wait for the reader of the other. What there is no room for is
// dropped, and the second stream says so.
class PatientOutput {
 public:
  // Where the text of a stream, which must outlive this, goes.
  struct Target {
    std::ostream& stream;
    int fd;
  };
  PatientOutput(Target out, Target err);
  // Waits for the readers, at most a second. What they have not taken then may still come.
  ~PatientOutput();
  PatientOutput(const PatientOutput&) = delete;
  PatientOutput& operator=(const PatientOutput&) = delete;

 private:
  struct Queue;
  class Stream;

  std::shared_ptr<Queue> queue_;
  std::unique_ptr<Stream> out_, err_;
};

}  // namespace specrep::xl
