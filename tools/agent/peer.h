#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "libspecrep/clock.h"
#include "libspecrep/pool/service_client.h"

namespace specrep::tools {

// The agent of another host: a connection that is made again when it breaks, by a thread of its
// own.
class Peer {
 public:
  // `request` says which host; its service and descriptors are set here.
  explicit Peer(pool::ServiceRequest request);
  // Does not wait for the thread, which may be waiting for a host that is dead.
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // One question at a time; false: the last one is not answered yet, or there is no connection.
  bool ask(const nlohmann::json& question);
  struct Answer {
    nlohmann::json question, answer;
    TimePoint asked;
  };
  // The answer, once it has come. Never waits.
  std::optional<Answer> take();
  // Why there is no connection; empty: there is one, or it is being made.
  std::string trouble() const;

 private:
  // What the thread shares with this.
  struct Line;

  void disconnect();

  std::shared_ptr<Line> line_;
  int to_ = -1, from_ = -1;
  std::string received_;
  std::optional<Answer> open_;  // the question that is not answered
};

}  // namespace specrep::tools
