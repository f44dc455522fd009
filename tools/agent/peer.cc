#include "tools/agent/peer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "libspecrep/error.h"
#include "libspecrep/pool/config.h"

namespace specrep::tools {

namespace {

using namespace std::chrono_literals;

constexpr Duration kAnswerMax = 5s;
constexpr Duration kConnectAgain = 1s;
// A pool.conf, quoted as JSON does it.
constexpr std::size_t kAnswerBytesMax = 4 * pool::kConfigBytesMax;

TimePoint now() { return std::chrono::steady_clock::now(); }

}  // namespace

// The thread makes a connection, leaves the ends of its pipes here, and waits for its end.
struct Peer::Line {
  std::mutex mutex;
  bool end = false;
  int to = -1, from = -1;  // taken by the other side
  std::string trouble;

  static void run(const std::shared_ptr<Line>& line, const pool::ServiceRequest& request) {
    for (;;) {
      std::string trouble;
      int in[2], out[2];
      if (pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0) {
        {
          const std::lock_guard lock(line->mutex);
          if (line->end) return;
          for (const int fd : {line->to, line->from})
            if (fd >= 0) close(fd);
          line->to = in[1];
          line->from = out[0];
        }
        pool::ServiceRequest next = request;
        next.in = in[0];
        next.out = out[1];
        next.err = open("/dev/null", O_WRONLY | O_CLOEXEC);
        try {
          pool::ask_service(next);
          trouble = "the connection was closed";
        } catch (const Error& error) {
          trouble = with_advice(error);
        } catch (const std::exception& error) {
          trouble = error.what();
        }
      }
      {
        const std::lock_guard lock(line->mutex);
        line->trouble = trouble;
        if (line->end) return;
      }
      std::this_thread::sleep_for(kConnectAgain);
    }
  }
};

Peer::Peer(pool::ServiceRequest request) : line_(std::make_shared<Line>()) {
  request.service = "agent";
  std::thread([line = line_, request] { Line::run(line, request); }).detach();
}

Peer::~Peer() {
  const std::lock_guard lock(line_->mutex);
  line_->end = true;
  for (const int fd : {line_->to, line_->from, to_, from_})
    if (fd >= 0) close(fd);
}

void Peer::disconnect() {
  close(to_);
  close(from_);
  to_ = from_ = -1;
  received_.clear();
  open_.reset();
}

bool Peer::ask(const nlohmann::json& question) {
  if (open_) return false;
  if (to_ < 0) {
    const std::lock_guard lock(line_->mutex);
    to_ = std::exchange(line_->to, -1);
    from_ = std::exchange(line_->from, -1);
  }
  if (to_ < 0) return false;
  fcntl(to_, F_SETFL, O_NONBLOCK);
  fcntl(from_, F_SETFL, O_NONBLOCK);
  const std::string text = question.dump() + "\n";
  // Into an empty pipe: it fits, or nobody reads any more.
  if (write(to_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    disconnect();
    return false;
  }
  open_ = Answer{question, {}, now()};
  return true;
}

std::optional<Peer::Answer> Peer::take() {
  if (!open_) return std::nullopt;
  char bytes[16 * 1024];
  ssize_t got = 0;
  while (received_.size() <= kAnswerBytesMax && (got = read(from_, bytes, sizeof bytes)) > 0)
    received_.append(bytes, static_cast<std::size_t>(got));
  const bool closed = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  const auto end = received_.find('\n');
  if (end == std::string::npos) {
    if (closed || now() - open_->asked > kAnswerMax || received_.size() > kAnswerBytesMax)
      disconnect();
    return std::nullopt;
  }
  Answer answer = std::move(*open_);
  open_.reset();
  answer.answer = nlohmann::json::parse(received_.substr(0, end), nullptr, false);
  received_.erase(0, end + 1);
  const std::lock_guard lock(line_->mutex);
  line_->trouble.clear();
  return answer;
}

std::string Peer::trouble() const {
  const std::lock_guard lock(line_->mutex);
  return line_->trouble;
}

}  // namespace specrep::tools
