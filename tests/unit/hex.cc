#include "libspecrep/hex.h"

#include <array>
#include <boost/test/unit_test.hpp>

namespace specrep {

BOOST_AUTO_TEST_SUITE(hex)

BOOST_AUTO_TEST_CASE(bytes_are_two_digits_each_there_and_back) {
  const std::array<std::uint8_t, 4> bytes{0x00, 0x0f, 0xa5, 0xff};
  BOOST_TEST(to_hex(bytes) == "000fa5ff");
  std::array<std::uint8_t, 4> back{1, 1, 1, 1};
  BOOST_TEST(from_hex("000fa5ff", back));
  BOOST_TEST(back == bytes);
}

BOOST_AUTO_TEST_CASE(what_is_not_exactly_as_many_digits_is_refused) {
  std::array<std::uint8_t, 2> bytes{};
  for (const char* text : {"", "00f", "00ff0", "00ff00", "00fg", "00FF", "0x0f", " 0ff", "-00f"})
    BOOST_TEST(!from_hex(text, bytes), text);
}

BOOST_AUTO_TEST_CASE(sha256_is_that_of_fips_180) {
  BOOST_TEST(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace specrep
