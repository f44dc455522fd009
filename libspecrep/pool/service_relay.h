#pragma once

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "libspecrep/pool/service_frame.h"
#include "libspecrep/pool/service_tls.h"

namespace specrep::pool {

// Carries standard streams over a connection: what both ends of a service do. What cannot be
// written at once makes the side that sends it wait, so no queue grows beyond a few pieces.
//
// All happens in the handlers of the io_context, which calls these functions too.
class ServiceRelay {
 public:
  using Stream = ServiceFrame::Kind;  // kIn, kOut or kErr
  struct Handlers {
    // Whatever came that is not of a stream.
    std::function<void(const ServiceFrame&)> frame;
    // The connection has ended, or brought what is no frame; comes once, and last.
    std::function<void(const std::string& why)> lost;
  };

  ServiceRelay(boost::asio::io_context& io, TlsStream& connection, Handlers handlers);

  // Begins to read the connection.
  void start() { read(); }

  // What `fd` gives goes to the peer, with its end. Owns fd.
  void send_from(int fd, Stream stream);
  // What the peer sends for `stream` goes to `fd`, which is closed at its end. Owns fd. Without one
  // it is dropped.
  void write_to(int fd, Stream stream);

  // Behind all that was sent before; `sent` when the kernel has it.
  void send(const ServiceFrame& frame, std::function<void()> sent = {});

  // Calls `done` when all that came from the descriptors of send_from() is sent, with their ends.
  void when_all_sent(std::function<void()> done);
  // The same, and waits for no more than what they have by now: somebody else may keep the other
  // end open for long.
  void finish(std::function<void()> done);

 private:
  struct Source {
    Source(boost::asio::io_context& io, int fd, Stream stream) : from(io, fd), stream(stream) {}
    boost::asio::posix::stream_descriptor from;
    Stream stream;
    bool finishing = false;
    std::array<char, 16 * 1024> bytes;
  };
  struct Outgoing {
    std::vector<std::byte> bytes;
    std::function<void()> sent;
  };

  void read_source(Source& source);
  void send_read(Source& source, std::size_t bytes);
  void source_ended();
  void write();
  void read();
  void handle_next();
  void lose(const std::string& why);

  boost::asio::io_context& io_;
  TlsStream& connection_;
  Handlers handlers_;
  std::deque<Source> sources_;
  std::size_t sources_left_ = 0;
  std::function<void()> finished_;
  std::map<Stream, boost::asio::posix::stream_descriptor> sinks_;
  std::deque<Outgoing> outgoing_;  // the front is being written
  std::array<std::byte, 16 * 1024> received_;
  ServiceFrameDecoder decoder_;
  std::deque<ServiceFrame> incoming_;
  bool lost_ = false;
};

}  // namespace specrep::pool
