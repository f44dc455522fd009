#include "libspecrep/pool/service_relay.h"

#include <sys/socket.h>

#include <boost/asio.hpp>

#include "libspecrep/error.h"

namespace specrep::pool {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;

}  // namespace

ServiceRelay::ServiceRelay(asio::io_context& io, TlsStream& connection, Handlers handlers)
    : io_(io), connection_(connection), handlers_(std::move(handlers)) {}

void ServiceRelay::send_from(int fd, Stream stream) {
  ++sources_left_;
  read_source(sources_.emplace_back(io_, fd, stream));
}

void ServiceRelay::write_to(int fd, Stream stream) {
  sinks_.emplace(stream, asio::posix::stream_descriptor(io_, fd));
}

void ServiceRelay::read_source(Source& source) {
  if (source.finishing) {
    error_code error;
    source.from.non_blocking(true, error);
    const std::size_t got = source.from.read_some(asio::buffer(source.bytes), error);
    return send_read(source, error ? 0 : got);  // would_block: that was all
  }
  source.from.async_read_some(asio::buffer(source.bytes),
                              [this, &source](error_code error, std::size_t got) {
                                if (error && source.finishing) return read_source(source);
                                send_read(source, error ? 0 : got);
                              });
}

void ServiceRelay::send_read(Source& source, std::size_t bytes) {
  const ServiceFrame frame{source.stream, std::string(source.bytes.data(), bytes)};
  if (bytes > 0) return send(frame, [this, &source] { read_source(source); });
  error_code ignored;
  source.from.close(ignored);
  send(frame, [this] { source_ended(); });
}

void ServiceRelay::source_ended() {
  if (--sources_left_ == 0 && finished_) std::exchange(finished_, {})();
}

void ServiceRelay::when_all_sent(std::function<void()> done) {
  if (sources_left_ == 0) return done();
  finished_ = std::move(done);
}

void ServiceRelay::finish(std::function<void()> done) {
  when_all_sent(std::move(done));
  for (Source& source : sources_) {
    if (!source.from.is_open()) continue;
    source.finishing = true;
    source.from.cancel();
  }
}

void ServiceRelay::send(const ServiceFrame& frame, std::function<void()> sent) {
  if (lost_) return;
  outgoing_.push_back({encode(frame), std::move(sent)});
  if (outgoing_.size() == 1) write();
}

void ServiceRelay::write() {
  asio::async_write(connection_, asio::buffer(outgoing_.front().bytes),
                    [this](error_code error, std::size_t) {
                      if (error) return;  // what the peer sent last may still be there to read
                      const auto sent = std::move(outgoing_.front().sent);
                      outgoing_.pop_front();
                      if (!outgoing_.empty()) write();
                      if (sent) sent();
                    });
}

void ServiceRelay::read() {
  connection_.async_read_some(asio::buffer(received_), [this](error_code error, std::size_t got) {
    if (error) return lose(error.message());
    try {
      std::vector<ServiceFrame> frames;
      decoder_.feed(std::span(received_.data(), got), frames);
      for (ServiceFrame& frame : frames) incoming_.push_back(std::move(frame));
    } catch (const Error& broken) {
      return lose(broken.what());
    }
    handle_next();
  });
}

// One after the other: what comes behind data waits until that is written.
void ServiceRelay::handle_next() {
  if (lost_) return;
  if (incoming_.empty()) return read();
  ServiceFrame frame = std::move(incoming_.front());
  incoming_.pop_front();
  const bool of_stream = frame.kind == ServiceFrame::Kind::kIn ||
                         frame.kind == ServiceFrame::Kind::kOut ||
                         frame.kind == ServiceFrame::Kind::kErr;
  if (!of_stream) {
    handlers_.frame(frame);
    return handle_next();
  }
  const auto sink = sinks_.find(frame.kind);
  if (sink == sinks_.end()) return handle_next();
  if (frame.bytes.empty()) {
    shutdown(sink->second.native_handle(), SHUT_WR);  // a socket, of which we have a copy
    sinks_.erase(sink);
    return handle_next();
  }
  const auto bytes = std::make_shared<std::string>(std::move(frame.bytes));
  asio::async_write(sink->second, asio::buffer(*bytes),
                    [this, sink, bytes](error_code error, std::size_t) {
                      if (lost_) return;
                      if (error) sinks_.erase(sink);  // nobody reads on
                      handle_next();
                    });
}

void ServiceRelay::lose(const std::string& why) {
  if (std::exchange(lost_, true)) return;
  error_code ignored;
  for (Source& source : sources_) source.from.close(ignored);
  sinks_.clear();
  handlers_.lost(why);
}

}  // namespace specrep::pool
