#include "xl-plugin/patient_output.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "libspecrep/signals_blocked.h"

namespace specrep::xl {

namespace {

using namespace std::chrono_literals;

// For each stream. Hours of figures, some kB each.
constexpr std::size_t kWaitingBytesMax = 1 << 20;
constexpr auto kFlushMax = 1s;
// Until new text for the other stream is looked for.
constexpr int kLookMs = 100;
// What a pipe that is writable takes at once.
constexpr std::size_t kWriteBytesMax = 4096;

}  // namespace

struct PatientOutput::Queue {
  struct Text {
    int fd;
    std::string bytes;
  };

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Text> waiting;
  struct Backlog {
    std::size_t bytes = 0;
    std::size_t dropped = 0;  // texts
  };
  std::map<int, Backlog> backlogs;
  bool over = false;

  void add(int fd, std::string bytes) {
    const std::lock_guard lock(mutex);
    Backlog& backlog = backlogs[fd];
    if (backlog.bytes + bytes.size() > kWaitingBytesMax) {
      ++backlog.dropped;
      return;
    }
    backlog.bytes += bytes.size();
    waiting.push_back({fd, std::move(bytes)});
    changed.notify_all();
  }

  // The first text whose reader has room; waiting.end(): none has, after a while.
  std::deque<Text>::iterator next(std::unique_lock<std::mutex>& lock) {
    std::vector<pollfd> set;
    for (const Text& text : waiting)
      if (std::none_of(set.begin(), set.end(), [&](const pollfd& p) { return p.fd == text.fd; }))
        set.push_back({text.fd, POLLOUT, 0});
    lock.unlock();
    poll(set.data(), set.size(), kLookMs);
    lock.lock();
    return std::find_if(waiting.begin(), waiting.end(), [&](const Text& text) {
      return std::any_of(set.begin(), set.end(),
                         [&](const pollfd& p) { return p.fd == text.fd && p.revents != 0; });
    });
  }

  void write_all(int err) {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return over || !waiting.empty(); });
      if (waiting.empty()) return;
      const auto text = next(lock);
      if (text == waiting.end()) continue;
      // Others only add, at the end; so this one stays the first of its stream.
      const int fd = text->fd;
      const std::string part = text->bytes.substr(0, kWriteBytesMax);
      lock.unlock();
      const ssize_t wrote = write(fd, part.data(), part.size());
      const bool again = wrote < 0 && (errno == EINTR || errno == EAGAIN);
      lock.lock();
      if (again) continue;
      const auto same = std::find_if(waiting.begin(), waiting.end(),
                                     [fd](const Text& other) { return other.fd == fd; });
      // Nobody will ever read what cannot be written.
      const std::size_t done = wrote < 0 ? same->bytes.size() : static_cast<std::size_t>(wrote);
      same->bytes.erase(0, done);
      Backlog& backlog = backlogs[fd];
      backlog.bytes -= done;
      if (!same->bytes.empty()) continue;
      waiting.erase(same);
      if (backlog.dropped > 0 && backlog.bytes < kWaitingBytesMax / 2) {
        std::string note = "(" + std::to_string(std::exchange(backlog.dropped, 0)) +
                           " texts were dropped, since nobody read on)\n";
        backlogs[err].bytes += note.size();
        waiting.push_back({err, std::move(note)});
      }
      changed.notify_all();
    }
  }
};

// Takes the place of what is behind a stream.
class PatientOutput::Stream final : public std::stringbuf {
 public:
  Stream(std::shared_ptr<Queue> queue, Target target)
      : std::stringbuf(std::ios::out),
        queue_(std::move(queue)),
        target_(target),
        flags_(target.stream.flags()) {
    target_.stream.flush();
    before_ = target_.stream.rdbuf(this);
    target_.stream.unsetf(std::ios::unitbuf);  // std::cerr would make a text of each word
  }
  ~Stream() override {
    target_.stream.flush();
    target_.stream.rdbuf(before_);
    target_.stream.flags(flags_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

 protected:
  int sync() override {
    std::string text = str();
    str("");
    if (!text.empty()) queue_->add(target_.fd, std::move(text));
    return 0;
  }

 private:
  const std::shared_ptr<Queue> queue_;
  const Target target_;
  const std::ios::fmtflags flags_;
  std::streambuf* before_ = nullptr;
};

PatientOutput::PatientOutput(Target out, Target err)
    : queue_(std::make_shared<Queue>()),
      out_(std::make_unique<Stream>(queue_, out)),
      err_(std::make_unique<Stream>(queue_, err)) {
  const SignalsBlocked blocked;
  std::thread([queue = queue_, fd = err.fd] { queue->write_all(fd); }).detach();
}

PatientOutput::~PatientOutput() {
  out_.reset();
  err_.reset();
  std::unique_lock lock(queue_->mutex);
  queue_->over = true;
  queue_->changed.notify_all();
  queue_->changed.wait_for(lock, kFlushMax, [this] { return queue_->waiting.empty(); });
}

}  // namespace specrep::xl
