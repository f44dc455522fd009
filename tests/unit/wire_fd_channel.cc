// The control channel over pipes.
#include "libspecrep/wire/fd_channel.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <thread>

namespace specrep::wire {
namespace {

using namespace std::chrono_literals;

// One channel each way, and the ends of both.
struct Pipes {
  Pipes() {
    BOOST_REQUIRE_EQUAL(pipe2(there, O_CLOEXEC), 0);
    BOOST_REQUIRE_EQUAL(pipe2(back, O_CLOEXEC), 0);
  }
  ~Pipes() {
    for (const int fd : {there[0], there[1], back[0], back[1]})
      if (fd >= 0) close(fd);
  }
  void close_end(int& fd) {
    close(fd);
    fd = -1;
  }
  void type(const std::string& text) {
    BOOST_REQUIRE_EQUAL(::write(there[1], text.data(), text.size()),
                        static_cast<ssize_t>(text.size()));
  }

  int there[2];
  int back[2];
};

Message notice(const std::string& text, std::size_t payload_bytes = 0) {
  Message message;
  message.envelope.mutable_notice()->set_text(text);
  message.payload.assign(payload_bytes, std::byte{0x5a});
  return message;
}

auto says(const std::string& part) {
  return [part](const Error& e) { return std::strstr(e.what(), part.c_str()) != nullptr; };
}

BOOST_FIXTURE_TEST_SUITE(wire_fd_channel, Pipes)

BOOST_AUTO_TEST_CASE(messages_both_ways) {
  FdChannel near(back[0], there[1]), far(there[0], back[1]);
  near.send(hello());
  near.send(notice("one"));
  far.send(notice("two"));
  BOOST_TEST(far.receive(1s).value().envelope.has_hello());
  BOOST_TEST(far.receive(1s).value().envelope.notice().text() == "one");
  BOOST_TEST(near.receive(1s).value().envelope.notice().text() == "two");
}

void check_big(int in, int out) {
  FdChannel near(-1, out), far(in, -1);
  std::thread sender([&] { near.send(notice("big", 3'000'000)); });
  const auto message = far.receive(5s);
  sender.join();
  BOOST_REQUIRE(message);
  BOOST_TEST((message->payload == notice("", 3'000'000).payload));
}

BOOST_AUTO_TEST_CASE(more_than_a_pipe_holds) { check_big(there[0], there[1]); }

BOOST_AUTO_TEST_CASE(non_blocking_descriptors) {
  fcntl(there[0], F_SETFL, O_NONBLOCK);
  fcntl(there[1], F_SETFL, O_NONBLOCK);
  check_big(there[0], there[1]);
}

BOOST_AUTO_TEST_CASE(nothing_comes) {
  FdChannel far(there[0], back[1]);
  const auto before = std::chrono::steady_clock::now();
  BOOST_TEST(!far.receive(30ms));
  BOOST_TEST((std::chrono::steady_clock::now() - before >= 30ms));
  BOOST_TEST(!far.receive(0s));
  BOOST_TEST(!far.closed());
}

BOOST_AUTO_TEST_CASE(half_a_message_is_none) {
  auto message = notice("late");
  const auto head = encode_head(message);
  FdChannel far(there[0], back[1]);
  type({reinterpret_cast<const char*>(head.data()), 6});
  BOOST_TEST(!far.receive(10ms));
  type({reinterpret_cast<const char*>(head.data()) + 6, head.size() - 6});
  BOOST_TEST(far.receive(1s).value().envelope.notice().text() == "late");
}

BOOST_AUTO_TEST_CASE(end_of_input) {
  FdChannel near(back[0], there[1]), far(there[0], back[1]);
  near.send(notice("last"));
  close_end(there[1]);
  BOOST_TEST(far.receive(1s).value().envelope.notice().text() == "last");
  BOOST_TEST(!far.closed());
  BOOST_CHECK_EXCEPTION(far.receive(1s), Error, says("closed"));
  BOOST_TEST(far.closed());
  BOOST_CHECK_EXCEPTION(far.receive(1s), Error, says("closed"));
}

BOOST_AUTO_TEST_CASE(banner_is_quoted) {
  FdChannel far(there[0], back[1]);
  type("Welcome to \x1b[1mhost2\n");
  BOOST_CHECK_EXCEPTION(far.receive(1s), ProtocolError, [](const Error& e) {
    return says("\"Welcome to  [1mhost2 \"")(e) && !e.advice().empty();
  });
  BOOST_TEST(far.closed());
}

BOOST_AUTO_TEST_CASE(banner_in_pieces_is_quoted_from_its_start) {
  FdChannel far(there[0], back[1]);
  type("We");
  BOOST_TEST(!far.receive(10ms));
  type("lcome");
  BOOST_CHECK_EXCEPTION(far.receive(1s), ProtocolError, says("\"Welcome\""));
}

BOOST_AUTO_TEST_CASE(end_of_input_after_scraps) {
  FdChannel far(there[0], back[1]);
  type("no\n");
  close_end(there[1]);
  BOOST_CHECK_EXCEPTION(far.receive(1s), Error, says("\"no \""));
}

BOOST_AUTO_TEST_CASE(nobody_reads) {
  FdChannel near(back[0], there[1]);
  close_end(there[0]);
  BOOST_CHECK_EXCEPTION(near.send(notice("hello?")), Error, says("Broken pipe"));
  BOOST_TEST(near.closed());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::wire
