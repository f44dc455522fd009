#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

namespace specrep::guest {

using Mac = std::array<std::uint8_t, 6>;

// An IP address that a guest's network card answers to.
struct CardAddress {
  Mac mac{};
  bool is_ipv6 = false;
  bool is_router = false;             // as the guest says of itself (RFC 4861, 4.4); IPv6 only
  std::array<std::uint8_t, 16> ip{};  // of an IPv4 address the first four

  std::size_t ip_bytes() const { return is_ipv6 ? 16 : 4; }
  bool is_same_ip(const CardAddress& other) const {
    return mac == other.mac && is_ipv6 == other.is_ipv6 && ip == other.ip;
  }
  bool operator==(const CardAddress&) const = default;
};

// Of one guest that are kept: a guest may make up as many as it likes.
inline constexpr std::size_t kCardAddressesMax = 64;

}  // namespace specrep::guest
