#pragma once

#include <utility>  // for Boost 1.74's Asio, which forgets it

#include <atomic>
#include <boost/asio.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "libspecrep/wire/tls_context.h"

// Not installed: what tls_link.cc and tls_rendezvous.cc share.
namespace specrep::wire {

// The peer knew the key and then ended, or said nothing.
class Silent final : public Error {
 public:
  using Error::Error;
};

// The stream, the queue to it and all timers belong to the I/O thread. The inbox is shared with
// the caller, under its mutex.
struct TlsLink::Impl {
  Impl(std::unique_ptr<boost::asio::io_context> io, std::shared_ptr<TlsContext> tls,
       std::unique_ptr<TlsStream> stream, Duration heartbeat_interval);
  ~Impl();

  void send(Message message);
  Event wait(TimePoint deadline);
  Negotiated exchange_hello(TimePoint deadline);

  // On the I/O thread, all of these.
  void run();
  void beat();
  void read();
  void received(std::size_t bytes);
  void deliver(std::vector<Message>& messages);
  void pump();
  void write();
  void drop_queue();
  void close(const std::string& why);
  void finish();

  void report_closed(const std::string& why);

  std::unique_ptr<boost::asio::io_context> io_;
  std::shared_ptr<TlsContext> tls_;
  std::unique_ptr<TlsStream> stream_;
  std::string address_;
  const Duration heartbeat_interval_;
  Negotiated peer_;

  struct Outgoing {
    std::vector<std::byte> head;
    std::vector<std::byte> payload;
    std::size_t size() const { return head.size() + payload.size(); }
  };
  static Outgoing encode(Message message);

  // kClosing: the end has been reported; what is queued still goes out, what comes in is dropped.
  enum class State { kOpen, kClosing, kFinished };
  State state_ = State::kOpen;
  boost::asio::steady_timer heartbeat_timer_;
  boost::asio::steady_timer close_timer_;
  bool heartbeat_due_ = false;
  std::uint64_t heartbeat_sequence_ = 0;
  Decoder decoder_;
  std::vector<std::byte> read_buffer_;
  std::deque<Outgoing> queue_;  // the front is being written when writing_
  std::size_t written_ = 0;     // of the front
  bool reading_ = false;
  bool writing_ = false;
  bool write_failed_ = false;

  struct Received {
    Message message;
    std::size_t bytes;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Received> inbox_;
  std::size_t inbox_bytes_ = 0;
  std::optional<std::string> closed_;
  bool woken_ = false;
  bool resume_posted_ = false;

  std::atomic<bool> ended_ = false;  // closed_ is set
  std::atomic<bool> paused_ = false;
  std::atomic<std::size_t> queued_bytes_ = 0;
  std::atomic<TimePoint> last_heard_ = std::chrono::steady_clock::now();
  std::atomic<TimePoint> last_looked_ = last_heard_.load();  // and read all that had come

  std::thread thread_;
};

}  // namespace specrep::wire
