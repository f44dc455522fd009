// Digests of pages: what is sent, and what is refused.
#include "libspecrep/wire/digests.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <functional>

namespace specrep::wire {
namespace {

BOOST_AUTO_TEST_SUITE(wire_digests)

constexpr Gfn kGfnCount = 1 << 20;

std::vector<std::byte> page_data(const std::vector<int>& fills) {
  std::vector<std::byte> data(fills.size() * kPageBytes);
  for (std::size_t i = 0; i < fills.size(); ++i)
    std::memset(data.data() + i * kPageBytes, fills[i], kPageBytes);
  return data;
}

BOOST_AUTO_TEST_CASE(another_message_is_no_digests) {
  BOOST_CHECK_THROW(DigestsView(hello(), kGfnCount), ProtocolError);
}

BOOST_AUTO_TEST_CASE(digest_is_canonical_xxh3_128) {
  std::byte a[kDigestBytes], b[kDigestBytes];
  digest_page(page_data({1}).data(), a);
  digest_page(page_data({1}).data(), b);
  BOOST_TEST(std::memcmp(a, b, kDigestBytes) == 0);
  auto changed = page_data({1});
  changed[4095] = std::byte{2};
  digest_page(changed.data(), b);
  BOOST_TEST(std::memcmp(a, b, kDigestBytes) != 0);
}

std::vector<std::byte> digests_of(const std::vector<Gfn>& gfns) {
  std::vector<std::byte> digests(gfns.size() * kDigestBytes);
  for (std::size_t i = 0; i < gfns.size(); ++i)
    std::memcpy(digests.data() + i * kDigestBytes, &gfns[i], sizeof(Gfn));
  return digests;
}

void check_digests(const std::vector<Gfn>& gfns, std::size_t messages_expected) {
  const auto digests = digests_of(gfns);
  auto messages = encode_digests(3, gfns, digests);
  BOOST_TEST(messages.size() == messages_expected);
  std::vector<Gfn> gfns_back;
  std::vector<std::byte> digests_back;
  for (auto& message : messages) {
    BOOST_CHECK_NO_THROW(encode_head(message));
    const DigestsView view(message, kGfnCount);
    BOOST_TEST(view.epoch == 3);
    BOOST_TEST(view.last == (&message == &messages.back()));
    gfns_back.insert(gfns_back.end(), view.gfns.begin(), view.gfns.end());
    digests_back.insert(digests_back.end(), view.digests.begin(), view.digests.end());
  }
  BOOST_TEST((gfns_back == gfns));
  BOOST_TEST((digests_back == digests));
}

BOOST_AUTO_TEST_CASE(digests_come_out_as_they_went_in) {
  check_digests({}, 1);
  check_digests({0}, 1);
  check_digests({3, 4, 5, 9, kGfnCount - 1}, 1);
}

BOOST_AUTO_TEST_CASE(digests_of_much_memory_are_split) {
  std::vector<Gfn> gfns(200'000);
  for (std::size_t i = 0; i < gfns.size(); ++i) gfns[i] = i;
  check_digests(gfns, 4);
  for (auto& gfn : gfns) gfn *= 5;  // no two neighbours
  check_digests(gfns, 134);
}

bool digests_refused(const std::function<void(Digests&, std::vector<std::byte>&)>& change) {
  const std::vector<Gfn> gfns{1, 2, 10};
  auto message = encode_digests(1, gfns, digests_of(gfns)).front();
  change(*message.envelope.mutable_digests(), message.payload);
  try {
    const DigestsView view(message, kGfnCount);
    return false;
  } catch (const ProtocolError&) {
    return true;
  }
}

BOOST_AUTO_TEST_CASE(broken_digests) {
  BOOST_TEST(!digests_refused([](Digests&, auto&) {}));
  BOOST_TEST(digests_refused([](Digests& d, auto&) { d.add_run_length(1); }));
  BOOST_TEST(digests_refused([](Digests& d, auto&) { d.set_run_length(0, 0); }));
  BOOST_TEST(digests_refused([](Digests& d, auto&) { d.set_run_length(0, 3); }));
  BOOST_TEST(digests_refused([](Digests& d, auto&) { d.set_run_length(0, ~0ull); }));
  BOOST_TEST(digests_refused([](Digests& d, auto&) { d.set_run_gfn_delta(0, ~0ull); }));
  BOOST_TEST(digests_refused([](Digests& d, auto&) { d.set_run_gfn_delta(1, kGfnCount - 3); }));
  BOOST_TEST(!digests_refused([](Digests& d, auto&) { d.set_run_gfn_delta(1, kGfnCount - 4); }));
  BOOST_TEST(digests_refused([](Digests&, auto& payload) { payload.pop_back(); }));
  BOOST_TEST(digests_refused([](Digests&, auto& payload) { payload.push_back(std::byte{}); }));
  BOOST_TEST(digests_refused([](Digests&, auto& p) { p.resize(p.size() + kDigestBytes); }));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::wire
