#include "libspecrep/wire/tls_link.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "libspecrep/signals_blocked.h"
#include "libspecrep/wire/tls_link_impl.h"

namespace specrep::wire {
namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using tcp = asio::ip::tcp;
using boost::system::error_code;

// What the destructor gives to what is still queued.
constexpr auto kFlushTimeout = std::chrono::seconds(1);
// Received and not yet taken by wait(): above the first no more is read, so that TCP slows the
// peer; below the second reading goes on. Above it can be by one message.
constexpr std::size_t kInboxBytesMax = 8 * 1024 * 1024;
constexpr std::size_t kInboxBytesResume = kInboxBytesMax / 2;
// A TLS record holds no more, and Asio hands over one at a time.
constexpr std::size_t kReadBytes = 16 * 1024;
// It looks with each heartbeat.
constexpr int kLooksMissed = 2;
// Of the I/O thread. See run().
constexpr int kNice = -10;

TimePoint now() { return std::chrono::steady_clock::now(); }

}  // namespace

TlsLink::Impl::Outgoing TlsLink::Impl::encode(Message message) {
  auto head = encode_head(message);
  return {std::move(head), std::move(message.payload)};
}

TlsLink::Impl::Impl(std::unique_ptr<asio::io_context> io, std::shared_ptr<TlsContext> tls,
                    std::unique_ptr<TlsStream> stream, Duration heartbeat_interval)
    : io_(std::move(io)),
      tls_(std::move(tls)),
      stream_(std::move(stream)),
      heartbeat_interval_(heartbeat_interval),
      heartbeat_timer_(*io_),
      close_timer_(*io_),
      read_buffer_(kReadBytes) {
  auto& socket = stream_->next_layer();
  error_code ignored;
  const auto remote = socket.remote_endpoint(ignored);
  address_ = remote.address().to_string(ignored) + " port " + std::to_string(remote.port());
  // A commit is one small message that the guest's output waits for.
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);

  asio::post(*io_, [this] {
    read();
    beat();
  });
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { run(); });
}

TlsLink::Impl::~Impl() {
  asio::post(*io_, [this] { close("closed by this side"); });
  thread_.join();
}

void TlsLink::Impl::run() {
  // The other side takes silence for death. A dom0 whose vCPUs are busy with a checkpoint must
  // not be silent, so this thread goes first where that is allowed; it does little.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
  try {
    io_->run();
  } catch (const std::exception& e) {
    report_closed("the link to " + address_ + " failed: " + e.what());
    finish();
  }
}

void TlsLink::Impl::beat() {
  if (state_ != State::kOpen) return;
  error_code ignored;
  if (stream_->next_layer().available(ignored) == 0) last_looked_ = now();
  heartbeat_due_ = true;
  pump();
  heartbeat_timer_.expires_after(heartbeat_interval_);
  heartbeat_timer_.async_wait([this](error_code error) {
    if (!error) beat();
  });
}

void TlsLink::Impl::read() {
  if (reading_ || paused_ || state_ == State::kFinished) return;
  reading_ = true;
  stream_->async_read_some(asio::buffer(read_buffer_), [this](error_code error, std::size_t bytes) {
    reading_ = false;
    if (!error) return received(bytes);
    // TLS's own closing message is not used: an orderly end is a Stop, which is a message, and
    // every other end is treated as one that an attacker may have caused.
    if (error == asio::error::eof || error == ssl::error::stream_truncated)
      report_closed("the link was closed by " + address_);
    else
      report_closed("the link to " + address_ + " failed: " + error.message());
    finish();
  });
}

void TlsLink::Impl::received(std::size_t bytes) {
  last_heard_ = now();
  last_looked_ = last_heard_.load();
  if (state_ == State::kOpen) {
    std::vector<Message> messages;
    try {
      decoder_.feed(std::span(read_buffer_).first(bytes), messages);
      deliver(messages);
    } catch (const ProtocolError& e) {
      deliver(messages);
      drop_queue();
      queue_.push_back(encode(failure(e)));
      queued_bytes_ += queue_.back().size();
      close("the link to " + address_ + " is unusable: " + e.what());
    }
  }
  read();
}

void TlsLink::Impl::deliver(std::vector<Message>& messages) {
  const std::lock_guard lock(mutex_);
  for (auto& message : messages) {
    if (message.envelope.has_heartbeat()) continue;
    // An envelope can take twenty times of what it had on the wire.
    const auto bytes = sizeof(Received) + message.payload.size() + message.envelope.SpaceUsedLong();
    inbox_.push_back({std::move(message), bytes});
    inbox_bytes_ += bytes;
  }
  messages.clear();
  if (inbox_bytes_ > kInboxBytesMax) paused_ = true;
  changed_.notify_all();
}

// Starts the next write. Heartbeats go before everything that has not been begun.
void TlsLink::Impl::pump() {
  if (writing_ || state_ == State::kFinished) return;
  if (heartbeat_due_ && state_ == State::kOpen && !write_failed_) {
    Message message;
    message.envelope.mutable_heartbeat()->set_sequence(++heartbeat_sequence_);
    queue_.push_front(encode(std::move(message)));
    queued_bytes_ += queue_.front().size();
  }
  heartbeat_due_ = false;
  if (!queue_.empty()) return write();
  if (state_ == State::kClosing) {
    // Only the sending half: what the peer sent meanwhile must be read, since closing over it
    // would reset the connection and throw away what the peer has not read yet.
    error_code ignored;
    stream_->next_layer().shutdown(tcp::socket::shutdown_send, ignored);
  }
}

// In steps, so that queued_bytes() follows a large message as it goes out.
void TlsLink::Impl::write() {
  writing_ = true;
  const auto& front = queue_.front();
  const auto of_head = std::min(written_, front.head.size());
  const std::array buffers{
      asio::buffer(front.head) + of_head,
      asio::buffer(front.payload) + (written_ - of_head),
  };
  stream_->async_write_some(buffers, [this](error_code error, std::size_t bytes) {
    writing_ = false;
    if (error) {
      // The end is left to the reading half to find, after the peer's last messages.
      write_failed_ = true;
      drop_queue();
      if (state_ == State::kClosing) finish();
      return;
    }
    written_ += bytes;
    queued_bytes_ -= bytes;
    if (written_ < queue_.front().size()) return write();
    queue_.pop_front();
    written_ = 0;
    pump();
  });
}

// All but what is being written, of which the peer already has a part.
void TlsLink::Impl::drop_queue() {
  const std::size_t keep = writing_ ? 1 : 0;
  while (queue_.size() > keep) {
    queued_bytes_ -= queue_.back().size() - (queue_.size() == 1 ? written_ : 0);
    queue_.pop_back();
  }
  if (!writing_) written_ = 0;
}

// Flushes, then finishes; at the latest after kFlushTimeout.
void TlsLink::Impl::close(const std::string& why) {
  report_closed(why);
  if (state_ != State::kOpen) return;
  state_ = State::kClosing;
  heartbeat_timer_.cancel();
  close_timer_.expires_after(kFlushTimeout);
  close_timer_.async_wait([this](error_code) { finish(); });
  paused_ = false;
  read();
  if (write_failed_) return finish();
  pump();
}

// Ends the I/O thread: without timers and socket it has nothing left to do.
void TlsLink::Impl::finish() {
  if (state_ == State::kFinished) return;
  state_ = State::kFinished;
  heartbeat_timer_.cancel();
  close_timer_.cancel();
  error_code ignored;
  stream_->next_layer().close(ignored);
}

void TlsLink::Impl::report_closed(const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  closed_ = why;
  ended_ = true;
  changed_.notify_all();
}

void TlsLink::Impl::send(Message message) {
  if (ended_) return;
  auto outgoing = encode(std::move(message));
  queued_bytes_ += outgoing.size();
  asio::post(*io_, [this, outgoing = std::move(outgoing)]() mutable {
    if (state_ != State::kOpen || write_failed_) {
      queued_bytes_ -= outgoing.size();
      return;
    }
    queue_.push_back(std::move(outgoing));
    pump();
  });
}

Link::Event TlsLink::Impl::wait(TimePoint deadline) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline,
                      [this] { return woken_ || !inbox_.empty() || closed_.has_value(); });
  if (woken_) {
    woken_ = false;
    return {};
  }
  if (inbox_.empty()) return {.message = {}, .closed = closed_};
  auto front = std::move(inbox_.front());
  inbox_.pop_front();
  inbox_bytes_ -= front.bytes;
  if (paused_ && inbox_bytes_ <= kInboxBytesResume && !resume_posted_) {
    resume_posted_ = true;
    asio::post(*io_, [this] {
      {
        const std::lock_guard posted_lock(mutex_);
        resume_posted_ = false;
      }
      if (!paused_) return;
      last_looked_ = last_heard_ =
          now();  // before paused_ falls, so that last_heard() never steps back
      paused_ = false;
      read();
    });
  }
  return {.message = std::move(front.message), .closed = {}};
}

// Both sides say Hello at once, then listen for the other's.
Negotiated TlsLink::Impl::exchange_hello(TimePoint deadline) {
  send(hello());
  auto event = wait(deadline);
  if (event.closed) throw Silent(*event.closed);
  if (!event.message) throw Silent("no answer from " + address_ + " in time");
  try {
    return negotiate(*event.message);
  } catch (const Error& e) {
    // So that the operator reads it on whichever side they look.
    if (!event.message->envelope.has_failure()) send(failure(e));
    throw;
  }
}

TlsLink::TlsLink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsLink::~TlsLink() = default;

void TlsLink::send(Message message) { impl_->send(std::move(message)); }

std::size_t TlsLink::queued_bytes() const {
  // What is queued for a link that has ended goes nowhere.
  return impl_->ended_ ? 0 : impl_->queued_bytes_.load();
}

TimePoint TlsLink::last_heard() const {
  // While we do not read, because our own caller is slow, the peer's silence says nothing: it may
  // be sending. That it has died is then noticed a heartbeat timeout after reading goes on.
  if (impl_->ended_) return impl_->last_heard_;
  if (impl_->paused_) return now();
  // Nor does it while the I/O thread has no turn, since the host is starved or was stopped: what
  // has come is still to be read. The silence is then as long as it was when that last looked.
  const TimePoint looked = impl_->last_looked_, heard = impl_->last_heard_, time = now();
  if (time - looked <= kLooksMissed * impl_->heartbeat_interval_) return heard;
  return time - std::max(looked - heard, Duration::zero());
}

Link::Event TlsLink::wait(TimePoint deadline) { return impl_->wait(deadline); }

void TlsLink::wake() {
  const std::lock_guard lock(impl_->mutex_);
  impl_->woken_ = true;
  impl_->changed_.notify_all();
}

const Negotiated& TlsLink::peer() const { return impl_->peer_; }

}  // namespace specrep::wire
