#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/error.h"
#include "specrep.pb.h"

namespace specrep::wire {

inline constexpr std::uint32_t kProtocolMin = 3;
inline constexpr std::uint32_t kProtocolMax = 3;

// Bits of Hello.features.
inline constexpr std::uint64_t kFeatureHandOver = 1 << 0;  // knows HandOver
inline constexpr std::uint64_t kFeatureInput = 1 << 1;     // knows InputWanted and Input
inline constexpr std::uint64_t kFeatures = kFeatureHandOver | kFeatureInput;

inline constexpr std::size_t kEnvelopeBytesMax = 64 * 1024;
// A checkpoint's payload is the guest's state: QEMU's may be some MiB (video memory is pages).
inline constexpr std::size_t kPayloadBytesMax = 64 * 1024 * 1024;
// Small enough that a heartbeat never waits long behind one (0.5 MiB), and below
// kEnvelopeBytesMax with the largest varints.
inline constexpr std::size_t kPagesPerMessageMax = 128;

// What an operator may choose of a link's times, in ms.
inline constexpr int kHeartbeatMsMin = 10, kHeartbeatMsMax = 60'000;
inline constexpr int kTimeoutMsMin = 100, kTimeoutMsMax = 600'000;

// A header and the bytes behind it. envelope.payload_bytes is set when it is encoded.
struct Message {
  Envelope envelope;
  std::vector<std::byte> payload;
};

// Something that does not follow the protocol came in. The link is unusable afterwards.
class ProtocolError : public Error {
 public:
  using Error::Error;
};

// The bytes of length and envelope that go out before message.payload; sets payload_bytes.
// Throws ProtocolError when a limit would be broken.
std::vector<std::byte> encode_head(Message& message);

// Takes bytes as they come, gives messages. Checks every length against its limit before it
// allocates. Not thread-safe.
class Decoder {
 public:
  // The limit for payloads from now on; kPayloadBytesMax at first.
  void set_payload_bytes_max(std::size_t bytes) { payload_bytes_max_ = bytes; }

  // Appends every message that `bytes` completes to `out`. Throws ProtocolError.
  void feed(std::span<const std::byte> bytes, std::vector<Message>& out);

 private:
  enum class Part { kLength, kEnvelope, kPayload };
  void finish_part(std::vector<Message>& out);

  Part part_ = Part::kLength;
  std::size_t wanted_ = sizeof(std::uint32_t);
  std::size_t have_ = 0;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(sizeof(std::uint32_t));
  Message message_;
  std::size_t payload_bytes_max_ = kPayloadBytesMax;
};

// This side's Hello.
Message hello();

struct Negotiated {
  std::uint32_t protocol;
  std::uint64_t features;
  std::string peer;  // "HOST (specrep 0.1)"
};

// Throws Error with advice when the peer's versions and ours do not overlap, ProtocolError when
// the message is no Hello.
Negotiated negotiate(const Message& peer_hello);

// The same times as they stand in messages. Throw ProtocolError when they are none that an operator
// can have chosen: this side would send heartbeats without a pause, or take the other for lost that
// was never silent.
Duration heartbeat_interval(std::uint32_t ms);
Duration heartbeat_timeout(std::uint32_t ms);

Message failure(const Error& error);

// Turns a Failure into an Error that names the peer.
Error to_error(const Failure& failure, const std::string& peer);

}  // namespace specrep::wire
