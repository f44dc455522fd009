#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace specrep {

// Two lower-case hexadecimal digits a byte, the first byte first.
std::string to_hex(std::span<const std::uint8_t> bytes);

// The reverse. False, with `bytes` as it was, unless `hex` is what to_hex() makes of as many bytes.
[[nodiscard]] bool from_hex(std::string_view hex, std::span<std::uint8_t> bytes);

// SHA-256 of the text, in 64 hexadecimal digits. Throws Error when OpenSSL does not offer it.
std::string sha256(const std::string& text);

}  // namespace specrep
