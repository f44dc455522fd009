#include "libspecrep/wire/message.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace specrep::wire {
namespace {

constexpr std::size_t kLengthBytes = sizeof(std::uint32_t);

Duration checked(std::uint32_t ms, int min, int max, const char* what) {
  if (std::cmp_less(ms, min) || std::cmp_greater(ms, max))
    throw ProtocolError("the primary asks for a " + std::string(what) + " of " +
                        std::to_string(ms) + " ms; it may be " + std::to_string(min) + " to " +
                        std::to_string(max) + " ms");
  return std::chrono::milliseconds(ms);
}

// Byte by byte, since the wire's order is not always the host's.
void store_length(std::uint32_t length, std::byte* out) {
  for (std::size_t i = 0; i < kLengthBytes; ++i) out[i] = std::byte(length >> (8 * i));
}

std::uint32_t load_length(const std::byte* in) {
  std::uint32_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i)
    length |= std::to_integer<std::uint32_t>(in[i]) << (8 * i);
  return length;
}

std::string host_name() {
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0) return "unknown host";
  return name;
}

std::string versions(std::uint32_t min, std::uint32_t max) {
  if (min == max) return std::to_string(min);
  return std::to_string(min) + " to " + std::to_string(max);
}

}  // namespace

std::vector<std::byte> encode_head(Message& message) {
  if (message.payload.size() > kPayloadBytesMax)
    throw ProtocolError("a message would carry " + std::to_string(message.payload.size()) +
                        " bytes of payload; at most " + std::to_string(kPayloadBytesMax) +
                        " are allowed");
  message.envelope.set_payload_bytes(static_cast<std::uint32_t>(message.payload.size()));
  const auto envelope_bytes = message.envelope.ByteSizeLong();
  if (envelope_bytes > kEnvelopeBytesMax)
    throw ProtocolError("a message would have an envelope of " + std::to_string(envelope_bytes) +
                        " bytes; at most " + std::to_string(kEnvelopeBytesMax) + " are allowed");
  std::vector<std::byte> head(kLengthBytes + envelope_bytes);
  store_length(static_cast<std::uint32_t>(envelope_bytes), head.data());
  if (!message.envelope.SerializeToArray(head.data() + kLengthBytes,
                                         static_cast<int>(envelope_bytes)))
    throw ProtocolError("a message cannot be encoded");
  return head;
}

void Decoder::feed(std::span<const std::byte> bytes, std::vector<Message>& out) {
  while (!bytes.empty()) {
    const auto n = std::min(bytes.size(), wanted_ - have_);
    // A payload is read straight into its message: it is the bulk, and is not to be copied again.
    auto& target = part_ == Part::kPayload ? message_.payload : buffer_;
    std::memcpy(target.data() + have_, bytes.data(), n);
    have_ += n;
    bytes = bytes.subspan(n);
    if (have_ == wanted_) finish_part(out);
  }
}

// Goes on to the next part, and past those that are empty, so that a message is handed out with
// its last byte and not with the first byte of the one after it.
void Decoder::finish_part(std::vector<Message>& out) {
  have_ = 0;
  if (part_ == Part::kLength) {
    wanted_ = load_length(buffer_.data());
    // An empty envelope has no body, so no honest peer sends one.
    if (wanted_ == 0 || wanted_ > kEnvelopeBytesMax)
      throw ProtocolError("the peer announced an envelope of " + std::to_string(wanted_) +
                          " bytes; 1 to " + std::to_string(kEnvelopeBytesMax) + " are allowed");
    buffer_.resize(wanted_);
    part_ = Part::kEnvelope;
    return;
  }
  if (part_ == Part::kEnvelope) {
    if (!message_.envelope.ParseFromArray(buffer_.data(), static_cast<int>(wanted_)))
      throw ProtocolError("the peer sent an envelope that cannot be decoded");
    const std::size_t payload_bytes = message_.envelope.payload_bytes();
    if (payload_bytes > payload_bytes_max_)
      throw ProtocolError("the peer announced " + std::to_string(payload_bytes) +
                          " bytes of payload; at most " + std::to_string(payload_bytes_max_) +
                          " are allowed");
    message_.payload.resize(payload_bytes);
    wanted_ = payload_bytes;
    part_ = Part::kPayload;
    if (payload_bytes != 0) return;
  }
  out.push_back(std::move(message_));
  message_ = {};
  wanted_ = kLengthBytes;
  buffer_.resize(wanted_);
  part_ = Part::kLength;
}

Message hello() {
  Message message;
  auto* hello = message.envelope.mutable_hello();
  hello->set_protocol_min(kProtocolMin);
  hello->set_protocol_max(kProtocolMax);
  hello->set_features(kFeatures);
  hello->set_software("specrep " PACKAGE_VERSION);
  hello->set_host(host_name());
  return message;
}

Negotiated negotiate(const Message& peer_hello) {
  if (peer_hello.envelope.has_failure())
    throw to_error(peer_hello.envelope.failure(), "the other side");
  if (!peer_hello.envelope.has_hello())
    throw ProtocolError("the other side did not begin with a Hello");
  const auto& hello = peer_hello.envelope.hello();
  const std::string peer = hello.host() + " (" + hello.software() + ")";
  if (hello.protocol_min() > hello.protocol_max())
    throw ProtocolError(peer + " claims to speak protocol " + std::to_string(hello.protocol_min()) +
                        " to " + std::to_string(hello.protocol_max()));
  if (hello.protocol_max() < kProtocolMin)
    throw Error(peer + " speaks protocol " + versions(hello.protocol_min(), hello.protocol_max()) +
                    ", this specrep " PACKAGE_VERSION " needs " +
                    versions(kProtocolMin, kProtocolMax),
                "install a newer specrep on " + hello.host());
  if (hello.protocol_min() > kProtocolMax)
    throw Error(peer + " needs protocol " + versions(hello.protocol_min(), hello.protocol_max()) +
                    ", this specrep " PACKAGE_VERSION " speaks " +
                    versions(kProtocolMin, kProtocolMax),
                "install a newer specrep on this host");
  return {.protocol = std::min(hello.protocol_max(), kProtocolMax),
          .features = hello.features() & kFeatures,
          .peer = peer};
}

Duration heartbeat_interval(std::uint32_t ms) {
  return checked(ms, kHeartbeatMsMin, kHeartbeatMsMax, "heartbeat");
}

Duration heartbeat_timeout(std::uint32_t ms) {
  return checked(ms, kTimeoutMsMin, kTimeoutMsMax, "time-out");
}

Message failure(const Error& error) {
  Message message;
  auto* failure = message.envelope.mutable_failure();
  failure->set_what(error.what());
  failure->set_advice(error.advice());
  return message;
}

Error to_error(const Failure& failure, const std::string& peer) {
  return Error(peer + ": " + failure.what(), failure.advice());
}

}  // namespace specrep::wire
