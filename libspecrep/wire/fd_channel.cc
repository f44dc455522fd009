#include "libspecrep/wire/fd_channel.h"

#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace specrep::wire {
namespace {

// Enough for the first lines of a banner or of an ssh error.
constexpr std::size_t kQuotedBytesMax = 160;

std::string quote(const std::string& bytes) {
  std::string text;
  for (const unsigned char c : bytes) text += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : ' ';
  return "\"" + text + "\"";
}

// Waits until `fd` is ready or `deadline` has passed; false: it has passed.
bool wait_ready(int fd, short events, TimePoint deadline) {
  for (;;) {
    // Rounded up: a poll of 0 ms again and again until the deadline would only burn the CPU.
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd entry{.fd = fd, .events = events, .revents = 0};
    const int n = poll(&entry, 1, static_cast<int>(std::clamp<long long>(left.count(), 0, 60'000)));
    // Also true for POLLHUP and POLLERR: read and write then say what it is.
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) throw Error(errno_text("cannot wait for the control channel"));
    if (std::chrono::steady_clock::now() >= deadline) return false;
  }
}

}  // namespace

void FdChannel::send(Message message) {
  auto head = encode_head(message);
  std::array<iovec, 2> parts{iovec{head.data(), head.size()},
                             iovec{message.payload.data(), message.payload.size()}};
  std::size_t left = head.size() + message.payload.size();
  while (left != 0) {
    const ssize_t n = writev(out_fd_, parts.data(), static_cast<int>(parts.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      wait_ready(out_fd_, POLLOUT, TimePoint::max());
      continue;
    }
    if (n < 0) {
      closed_ = true;
      throw Error(errno_text("cannot write to the control channel"));
    }
    left -= static_cast<std::size_t>(n);
    auto written = static_cast<std::size_t>(n);
    for (auto& part : parts) {
      const auto step = std::min(written, part.iov_len);
      part.iov_base = static_cast<char*>(part.iov_base) + step;
      part.iov_len -= step;
      written -= step;
    }
  }
}

std::optional<Message> FdChannel::receive(Duration timeout) {
  const TimePoint now = std::chrono::steady_clock::now();
  const TimePoint deadline = timeout < TimePoint::max() - now ? now + timeout : TimePoint::max();
  std::array<char, 65536> chunk;
  while (ready_.empty()) {
    if (closed_) throw Error("the control channel is closed");
    if (!wait_ready(in_fd_, POLLIN, deadline)) return std::nullopt;
    const ssize_t n = read(in_fd_, chunk.data(), chunk.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) {
      closed_ = true;
      throw Error(n < 0 ? errno_text("cannot read from the control channel")
                        : "the control channel was closed by the other side" +
                              (unparsed_.empty() ? "" : " after " + quote(unparsed_)));
    }
    const auto bytes = static_cast<std::size_t>(n);
    unparsed_.append(chunk.data(), std::min(bytes, kQuotedBytesMax - unparsed_.size()));
    try {
      decoder_.feed(std::as_bytes(std::span(chunk.data(), bytes)), ready_);
    } catch (const ProtocolError& e) {
      closed_ = true;
      throw ProtocolError("the control channel brought no specrep message but " + quote(unparsed_) +
                              " (" + e.what() + ")",
                          "the other side's shell must print nothing when it is not interactive: "
                          "look at its start-up files");
    }
    if (!ready_.empty()) unparsed_.clear();
  }
  std::optional<Message> message(std::move(ready_.front()));
  ready_.erase(ready_.begin());
  return message;
}

}  // namespace specrep::wire
