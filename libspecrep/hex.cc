#include "libspecrep/hex.h"

#include <openssl/evp.h>

#include <array>
#include <boost/algorithm/hex.hpp>
#include <iterator>

#include "libspecrep/error.h"

namespace specrep {

std::string to_hex(std::span<const std::uint8_t> bytes) {
  std::string hex;
  boost::algorithm::hex_lower(bytes.begin(), bytes.end(), std::back_inserter(hex));
  return hex;
}

bool from_hex(std::string_view hex, std::span<std::uint8_t> bytes) {
  if (hex.size() != 2 * bytes.size() ||
      hex.find_first_not_of("0123456789abcdef") != std::string_view::npos)
    return false;
  boost::algorithm::unhex(hex.begin(), hex.end(), bytes.data());
  return true;
}

std::string sha256(const std::string& text) {
  std::array<std::uint8_t, 32> digest{};
  if (EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1)
    throw Error("OpenSSL does not offer SHA-256", "look at the system's OpenSSL configuration");
  return to_hex(digest);
}

}  // namespace specrep
