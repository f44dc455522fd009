#pragma once

#include <functional>
#include <list>
#include <nlohmann/json.hpp>
#include <string>

#include "libspecrep/clock.h"

namespace specrep::tools {

// A unix socket, for root alone, that is asked in JSON, an object a line, and answers likewise:
// {"ask":"status"}. What cannot be answered gets {"error":..., "advice":...}.
class QuestionSocket {
 public:
  // Says what the answer is; what it throws becomes an error.
  using Answer = std::function<nlohmann::json(const nlohmann::json& question)>;
  // Throws Error when it cannot be made.
  QuestionSocket(std::string path, Answer answer);
  ~QuestionSocket();
  QuestionSocket(const QuestionSocket&) = delete;
  QuestionSocket& operator=(const QuestionSocket&) = delete;

  // Answers what is asked, for this long, or until a signal that `unblocked` lets through.
  void serve(Duration time, const sigset_t& unblocked);

 private:
  struct Asker {
    int socket;
    std::string received, to_send;
  };
  void read_from(Asker& asker);
  void answer_line(Asker& asker, const std::string& line);

  const std::string path_;
  const Answer answer_;
  int listening_ = -1;
  std::list<Asker> askers_;
};

}  // namespace specrep::tools
