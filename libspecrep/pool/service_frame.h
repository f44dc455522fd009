#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace specrep::pool {

// What goes over a service's connection, in both directions: frames of
//
//   u8 kind | u32 little-endian: length, at most kFrameBytesMax | bytes
struct ServiceFrame {
  enum class Kind : std::uint8_t {
    kOpen = 1,    // the client's first: the name of the service
    kIn = 2,      // bytes of the service's stdin; none: its end
    kOut = 3,     // the same of stdout,
    kErr = 4,     // and of stderr
    kEnded = 5,   // the listener's last: the service's exit status, a byte
    kFailed = 6,  // or, instead: what went wrong; a zero; what can be done about it
  };
  Kind kind = Kind::kOpen;
  std::string bytes;
};
inline constexpr std::size_t kFrameBytesMax = 64 * 1024;

std::vector<std::byte> encode(const ServiceFrame& frame);

// Takes bytes as they come, gives frames.
class ServiceFrameDecoder {
 public:
  // Appends every frame that `bytes` completes to `out`. Throws Error on what is no frame; it is
  // then of no more use.
  void feed(std::span<const std::byte> bytes, std::vector<ServiceFrame>& out);

 private:
  std::string unparsed_;
};

}  // namespace specrep::pool
