// Framing and negotiation.
#include "libspecrep/wire/message.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <limits>

namespace specrep::wire {
namespace {

BOOST_AUTO_TEST_SUITE(wire_message)

std::vector<std::byte> bytes_of(Message message) {
  auto bytes = encode_head(message);
  bytes.insert(bytes.end(), message.payload.begin(), message.payload.end());
  return bytes;
}

std::vector<std::byte> length_bytes(std::uint32_t length) {
  std::vector<std::byte> bytes;
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(std::byte(length >> shift));
  return bytes;
}

Message stop(const std::string& reason, std::size_t payload_bytes = 0) {
  Message message;
  message.envelope.mutable_stop()->set_reason(reason);
  for (std::size_t i = 0; i < payload_bytes; ++i) message.payload.push_back(std::byte(i * 7));
  return message;
}

auto says(const std::string& part) {
  return [part](const Error& e) { return std::strstr(e.what(), part.c_str()) != nullptr; };
}

BOOST_AUTO_TEST_CASE(what_goes_in_comes_out) {
  std::vector<Message> out;
  Decoder().feed(bytes_of(stop("tired", 1000)), out);
  BOOST_REQUIRE_EQUAL(out.size(), 1);
  BOOST_TEST(out[0].envelope.stop().reason() == "tired");
  BOOST_TEST((out[0].payload == stop("", 1000).payload));
}

BOOST_AUTO_TEST_CASE(length_is_little_endian) {
  const auto bytes = bytes_of(stop(std::string(300, 'x')));
  const auto envelope_bytes = bytes.size() - 4;
  BOOST_TEST(std::to_integer<std::size_t>(bytes[0]) == (envelope_bytes & 0xff));
  BOOST_TEST(std::to_integer<std::size_t>(bytes[1]) == envelope_bytes >> 8);
}

BOOST_AUTO_TEST_CASE(byte_by_byte_gives_each_message_with_its_last_byte) {
  std::vector<std::byte> bytes;
  std::vector<std::size_t> ends;
  for (const auto& message : {stop("a", 10), stop("b"), stop("c", 1)}) {
    const auto one = bytes_of(message);
    bytes.insert(bytes.end(), one.begin(), one.end());
    ends.push_back(bytes.size());
  }
  Decoder decoder;
  std::vector<Message> out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    decoder.feed(std::span(bytes).subspan(i, 1), out);
    const auto expected =
        std::count_if(ends.begin(), ends.end(), [&](auto e) { return e <= i + 1; });
    BOOST_REQUIRE_EQUAL(out.size(), static_cast<std::size_t>(expected));
  }
  BOOST_TEST(out[0].payload.size() == 10);
  BOOST_TEST(out[1].payload.size() == 0);
  BOOST_TEST(out[2].envelope.stop().reason() == "c");
}

BOOST_AUTO_TEST_CASE(many_at_once) {
  std::vector<std::byte> bytes;
  for (int i = 0; i < 100; ++i) {
    const auto one = bytes_of(stop(std::to_string(i), static_cast<std::size_t>(i)));
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  std::vector<Message> out;
  Decoder().feed(bytes, out);
  BOOST_REQUIRE_EQUAL(out.size(), 100);
  BOOST_TEST(out[99].envelope.stop().reason() == "99");
  BOOST_TEST(out[99].payload.size() == 99);
}

BOOST_AUTO_TEST_CASE(envelope_too_long) {
  std::vector<Message> out;
  BOOST_CHECK_EXCEPTION(Decoder().feed(length_bytes(kEnvelopeBytesMax + 1), out), ProtocolError,
                        says("65537"));
  BOOST_CHECK_NO_THROW(Decoder().feed(length_bytes(kEnvelopeBytesMax), out));
  BOOST_CHECK_THROW(Decoder().feed(length_bytes(0xffffffff), out), ProtocolError);
  BOOST_CHECK_THROW(Decoder().feed(length_bytes(0), out), ProtocolError);
}

BOOST_AUTO_TEST_CASE(envelope_that_is_none) {
  auto bytes = length_bytes(3);
  for (int i = 0; i < 3; ++i) bytes.push_back(std::byte{0xff});
  std::vector<Message> out;
  BOOST_CHECK_THROW(Decoder().feed(bytes, out), ProtocolError);
}

// The announcement alone is refused: nothing is allocated for, or awaited of, the payload.
BOOST_AUTO_TEST_CASE(payload_too_long) {
  Envelope envelope;
  envelope.mutable_stop();
  const auto head = [&](std::uint32_t payload_bytes) {
    envelope.set_payload_bytes(payload_bytes);
    const auto text = envelope.SerializeAsString();
    auto bytes = length_bytes(static_cast<std::uint32_t>(text.size()));
    for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
    return bytes;
  };
  std::vector<Message> out;
  BOOST_CHECK_THROW(Decoder().feed(head(kPayloadBytesMax + 1), out), ProtocolError);
  BOOST_CHECK_THROW(Decoder().feed(head(0xffffffff), out), ProtocolError);
  BOOST_CHECK_NO_THROW(Decoder().feed(head(kPayloadBytesMax), out));
  Decoder strict;
  strict.set_payload_bytes_max(4096);
  BOOST_CHECK_THROW(strict.feed(head(4097), out), ProtocolError);
  BOOST_TEST(out.empty());
}

BOOST_AUTO_TEST_CASE(messages_before_a_broken_one_are_handed_out) {
  auto bytes = bytes_of(stop("good"));
  const auto bad = length_bytes(0xffffffff);
  bytes.insert(bytes.end(), bad.begin(), bad.end());
  std::vector<Message> out;
  BOOST_CHECK_THROW(Decoder().feed(bytes, out), ProtocolError);
  BOOST_TEST(out.size() == 1);
}

BOOST_AUTO_TEST_CASE(sender_keeps_the_limits) {
  auto long_envelope = stop(std::string(kEnvelopeBytesMax, 'x'));
  BOOST_CHECK_THROW(encode_head(long_envelope), ProtocolError);
  Message long_payload = stop("");
  long_payload.payload.resize(kPayloadBytesMax + 1);
  BOOST_CHECK_THROW(encode_head(long_payload), ProtocolError);
}

// A peer could have heartbeats sent without a pause, and a guest activated whose primary lives.
BOOST_AUTO_TEST_CASE(times_that_nobody_may_choose_are_refused) {
  using namespace std::chrono_literals;
  const std::uint32_t most = std::numeric_limits<std::uint32_t>::max();
  BOOST_CHECK(heartbeat_interval(10) == 10ms);
  BOOST_CHECK(heartbeat_interval(60'000) == 60s);
  for (const std::uint32_t ms : {0u, 9u, 60'001u, most})
    BOOST_CHECK_EXCEPTION(heartbeat_interval(ms), ProtocolError,
                          says("a heartbeat of " + std::to_string(ms) + " ms"));
  BOOST_CHECK(heartbeat_timeout(100) == 100ms);
  BOOST_CHECK(heartbeat_timeout(600'000) == 600s);
  for (const std::uint32_t ms : {0u, 99u, 600'001u, most})
    BOOST_CHECK_EXCEPTION(heartbeat_timeout(ms), ProtocolError,
                          says("a time-out of " + std::to_string(ms) + " ms"));
}

BOOST_AUTO_TEST_CASE(own_hello_is_understood) {
  const auto negotiated = negotiate(hello());
  BOOST_TEST(negotiated.protocol == kProtocolMax);
  BOOST_TEST(negotiated.features == kFeatures);
  BOOST_TEST(negotiated.peer.find("(specrep ") != std::string::npos);
}

Message hello_from(std::uint32_t min, std::uint32_t max, std::uint64_t features = 0) {
  Message message = hello();
  auto* hello = message.envelope.mutable_hello();
  hello->set_protocol_min(min);
  hello->set_protocol_max(max);
  hello->set_features(features);
  hello->set_host("far");
  hello->set_software("specrep 9");
  return message;
}

BOOST_AUTO_TEST_CASE(highest_common_version_and_features) {
  const auto negotiated = negotiate(hello_from(kProtocolMin, kProtocolMax + 5, ~0ull));
  BOOST_TEST(negotiated.protocol == kProtocolMax);
  BOOST_TEST(negotiated.features == kFeatures);
  BOOST_TEST(negotiated.peer == "far (specrep 9)");
}

BOOST_AUTO_TEST_CASE(version_mismatch_says_who_must_be_renewed) {
  const std::string theirs =
      std::to_string(kProtocolMax + 1) + " to " + std::to_string(kProtocolMax + 2);
  BOOST_CHECK_EXCEPTION(negotiate(hello_from(kProtocolMax + 1, kProtocolMax + 2)), Error,
                        [&](const Error& e) {
                          return says("far (specrep 9) needs protocol " + theirs)(e) &&
                                 e.advice() == "install a newer specrep on this host";
                        });
  BOOST_CHECK_EXCEPTION(negotiate(hello_from(0, kProtocolMin - 1)), Error, [](const Error& e) {
    return e.advice() == "install a newer specrep on far";
  });
  BOOST_CHECK_THROW(negotiate(hello_from(kProtocolMax, kProtocolMax - 1)), ProtocolError);
}

BOOST_AUTO_TEST_CASE(something_else_than_hello) {
  BOOST_CHECK_THROW(negotiate(stop("no")), ProtocolError);
}

BOOST_AUTO_TEST_CASE(failure_instead_of_hello_is_passed_on) {
  BOOST_CHECK_EXCEPTION(
      negotiate(failure(Error("no memory", "buy some"))), Error,
      [](const Error& e) { return says("no memory")(e) && e.advice() == "buy some"; });
}

BOOST_AUTO_TEST_CASE(failure_names_the_peer) {
  const auto message = failure(Error("no memory", "buy some"));
  const auto error = to_error(message.envelope.failure(), "far");
  BOOST_TEST(error.what() == std::string("far: no memory"));
  BOOST_TEST(error.advice() == "buy some");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::wire
