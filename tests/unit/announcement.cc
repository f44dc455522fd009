// How a guest's addresses are learned from its frames, and announced.
#include "libspecrep/output/announcement.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <string_view>

namespace specrep::output {
namespace {

using guest::CardAddress;

constexpr guest::Mac kCard = {0x00, 0x16, 0x3e, 0x11, 0x22, 0x33};

CardAddress ipv4() {
  CardAddress address{.mac = kCard};
  address.ip = {192, 168, 88, 51};
  return address;
}

CardAddress ipv6(bool router) {
  CardAddress address{.mac = kCard, .is_ipv6 = true, .is_router = router};
  address.ip = {0xfd, 0, 0, 0x88};
  address.ip[15] = 0x51;
  return address;
}

Frame from_hex(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  Frame frame;
  for (std::size_t i = 0; i < text.size(); i += 2)
    frame.push_back(static_cast<std::byte>(digit(text[i]) << 4 | digit(text[i + 1])));
  return frame;
}

// Written by other code (Python's struct, and the checksum of tests/xenlab/frames.py).
const Frame kReverse = from_hex(
    "ffffffffffff00163e1122338035000108000604000300163e1122330000000000163e112233"
    "00000000000000000000000000000000000000000000");
const Frame kGratuitous = from_hex(
    "ffffffffffff00163e1122330806000108000604000100163e112233c0a85833000000000000"
    "c0a85833000000000000000000000000000000000000");
const Frame kAdvertisement = from_hex(
    "33330000000100163e11223386dd6000000000203afffd000088000000000000000000000051"
    "ff0200000000000000000000000000018800fa9120000000fd00008800000000000000000000"
    "0051020100163e112233");
const Frame kRouters = from_hex(
    "33330000000100163e11223386dd6000000000203afffd000088000000000000000000000051"
    "ff02000000000000000000000000000188007a91a0000000fd00008800000000000000000000"
    "0051020100163e112233");

BOOST_AUTO_TEST_SUITE(announcing)

BOOST_AUTO_TEST_CASE(frames_are_those_of_the_rfcs) {
  BOOST_TEST((reverse_arp(kCard) == kReverse));
  BOOST_TEST((announcement(ipv4()) == kGratuitous));
  BOOST_TEST((announcement(ipv6(false)) == kAdvertisement));
  BOOST_TEST((announcement(ipv6(true)) == kRouters));
}

BOOST_AUTO_TEST_CASE(an_address_is_learned_from_what_its_owner_says) {
  BOOST_TEST((claimed_address(kGratuitous) == ipv4()));
  BOOST_TEST((claimed_address(kAdvertisement) == ipv6(false)));
  BOOST_TEST((claimed_address(kRouters) == ipv6(true)));
  // A solicitation is about another's address and comes from its own.
  Frame solicitation = kAdvertisement;
  solicitation[54] = std::byte{135};
  solicitation[77] = std::byte{0x99};
  BOOST_TEST((claimed_address(solicitation) == ipv6(false)));
}

BOOST_AUTO_TEST_CASE(nothing_is_learned_from_other_frames) {
  BOOST_TEST(!claimed_address(kReverse));
  const auto changed = [](Frame frame, std::size_t at, int value) {
    frame[at] = static_cast<std::byte>(value);
    return claimed_address(frame);
  };
  BOOST_TEST(!changed(kGratuitous, 13, 0x00));    // IPv4
  BOOST_TEST(!changed(kGratuitous, 27, 0x34));    // of another card than it comes from
  BOOST_TEST(!changed(kGratuitous, 19, 16));      // addresses of another length
  BOOST_TEST(!changed(kAdvertisement, 20, 17));   // UDP
  BOOST_TEST(!changed(kAdvertisement, 21, 64));   // may have come through a router
  BOOST_TEST(!changed(kAdvertisement, 54, 134));  // a router's advertisement
  Frame probe = kGratuitous;                      // RFC 5227: nobody's address yet
  std::fill_n(probe.begin() + 28, 4, std::byte{0});
  BOOST_TEST(!claimed_address(probe));
}

BOOST_AUTO_TEST_CASE(frames_that_are_cut_short_are_nothing) {
  for (const Frame& whole : {kGratuitous, kAdvertisement})
    for (std::size_t bytes = 0; bytes < 42; ++bytes)
      BOOST_TEST(!claimed_address(std::span(whole).first(bytes)), bytes << " bytes");
  BOOST_TEST(!claimed_address(std::span(kAdvertisement).first(77)));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::output
