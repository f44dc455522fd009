// Pages and digests: what is sent, and what is refused.
#include "libspecrep/wire/pages.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <functional>
#include <limits>

namespace specrep::wire {
namespace {

BOOST_AUTO_TEST_SUITE(wire_pages)

constexpr Gfn kGfnCount = 1 << 20;

std::vector<std::byte> page_data(const std::vector<int>& fills) {
  std::vector<std::byte> data(fills.size() * kPageBytes);
  for (std::size_t i = 0; i < fills.size(); ++i)
    std::memset(data.data() + i * kPageBytes, fills[i], kPageBytes);
  return data;
}

BOOST_AUTO_TEST_CASE(pages_come_out_as_they_went_in) {
  const std::vector<Gfn> gfns{0, 1, 7, 500, kGfnCount - 1};
  auto data = page_data({0, 1, 0, 3, 4});
  data[3 * kPageBytes - 1] = std::byte{9};  // the third is zero but for its last byte
  const auto message = encode_pages(42, gfns, data.data());
  BOOST_TEST(message.payload.size() == 4 * kPageBytes);
  const PagesView view(message, kGfnCount);
  BOOST_TEST(view.epoch() == 42);
  BOOST_TEST(view.gfns() == gfns, boost::test_tools::per_element());
  for (std::size_t i = 0; i < gfns.size(); ++i)
    BOOST_TEST(std::memcmp(view.page(i), data.data() + i * kPageBytes, kPageBytes) == 0);
}

BOOST_AUTO_TEST_CASE(zero_pages_cost_no_payload) {
  const std::vector<Gfn> gfns{5, 6};
  const auto message = encode_pages(1, gfns, page_data({0, 0}).data());
  BOOST_TEST(message.payload.empty());
  const PagesView view(message, kGfnCount);
  BOOST_TEST(std::memcmp(view.page(1), page_data({0}).data(), kPageBytes) == 0);
}

BOOST_AUTO_TEST_CASE(all_raw_needs_no_encodings) {
  const std::vector<Gfn> gfns{5, 6};
  const auto message = encode_pages(1, gfns, page_data({1, 2}).data());
  BOOST_TEST(message.envelope.pages().encoding_size() == 0);
  BOOST_TEST((*PagesView(message, kGfnCount).page(1) == std::byte{2}));
}

BOOST_AUTO_TEST_CASE(no_pages_at_all) {
  BOOST_TEST(PagesView(encode_pages(1, {}, nullptr), kGfnCount).gfns().empty());
}

BOOST_AUTO_TEST_CASE(largest_message_fits_its_envelope) {
  std::vector<Gfn> gfns;
  for (std::size_t i = 0; i < kPagesPerMessageMax; ++i) gfns.push_back((i + 1) << 56);
  auto message = encode_pages(~0ull, gfns, page_data(std::vector<int>(gfns.size(), 0)).data());
  BOOST_CHECK_NO_THROW(encode_head(message));
  BOOST_CHECK_NO_THROW(PagesView(message, std::numeric_limits<Gfn>::max()));
}

BOOST_AUTO_TEST_CASE(encoder_keeps_the_rules) {
  const std::vector<Gfn> too_many(kPagesPerMessageMax + 1);
  BOOST_CHECK_THROW(encode_pages(1, too_many, nullptr), ProtocolError);
  const auto data = page_data({1, 1});
  BOOST_CHECK_THROW(encode_pages(1, std::vector<Gfn>{4, 4}, data.data()), ProtocolError);
  BOOST_CHECK_THROW(encode_pages(1, std::vector<Gfn>{4, 3}, data.data()), ProtocolError);
}

// Two raw pages, 10 and 11, changed by `change`; whether the view refuses them.
bool refused(const std::function<void(Pages&, std::vector<std::byte>&)>& change) {
  auto message = encode_pages(1, std::vector<Gfn>{10, 11}, page_data({1, 2}).data());
  change(*message.envelope.mutable_pages(), message.payload);
  try {
    const PagesView view(message, kGfnCount);
    return false;
  } catch (const ProtocolError&) {
    return true;
  }
}

BOOST_AUTO_TEST_CASE(unchanged_pages_are_not_refused) {
  BOOST_TEST(!refused([](Pages&, auto&) {}));
  BOOST_TEST(!refused([](Pages& p, auto&) { p.set_gfn_delta(0, kGfnCount - 2); }));
}

BOOST_AUTO_TEST_CASE(gfn_out_of_bounds) {
  BOOST_TEST(refused([](Pages& p, auto&) { p.set_gfn_delta(0, kGfnCount); }));
  BOOST_TEST(refused([](Pages& p, auto&) { p.set_gfn_delta(0, kGfnCount - 1); }));
  BOOST_TEST(refused([](Pages& p, auto&) { p.set_gfn_delta(0, ~0ull); }));
}

BOOST_AUTO_TEST_CASE(gfns_not_ascending) {
  BOOST_TEST(refused([](Pages& p, auto&) { p.set_gfn_delta(1, 0); }));
  // 10 + (2^64 - 1) is 9 when it overflows.
  BOOST_TEST(refused([](Pages& p, auto&) { p.set_gfn_delta(1, ~0ull); }));
}

BOOST_AUTO_TEST_CASE(unknown_encoding) {
  BOOST_TEST(refused([](Pages& p, auto&) {
    p.add_encoding(RAW);
    p.add_encoding(static_cast<PageEncoding>(7));
  }));
}

BOOST_AUTO_TEST_CASE(encodings_and_pages_differ_in_number) {
  BOOST_TEST(refused([](Pages& p, auto&) { p.add_encoding(RAW); }));
  BOOST_TEST(refused([](Pages& p, auto&) {
    for (int i = 0; i < 3; ++i) p.add_encoding(RAW);
  }));
}

BOOST_AUTO_TEST_CASE(payload_short_or_long) {
  BOOST_TEST(refused([](Pages&, auto& payload) { payload.pop_back(); }));
  BOOST_TEST(refused([](Pages&, auto& payload) { payload.clear(); }));
  BOOST_TEST(refused([](Pages&, auto& payload) { payload.push_back(std::byte{}); }));
  BOOST_TEST(refused([](Pages&, auto& payload) { payload.resize(3 * kPageBytes); }));
}

BOOST_AUTO_TEST_CASE(too_many_pages_in_a_message) {
  BOOST_TEST(refused([](Pages& p, auto& payload) {
    payload.clear();
    p.clear_gfn_delta();
    for (std::size_t i = 0; i <= kPagesPerMessageMax; ++i) {
      p.add_gfn_delta(1);
      p.add_encoding(ZERO);
    }
  }));
}

BOOST_AUTO_TEST_CASE(another_message_is_no_pages_and_no_digests) {
  BOOST_CHECK_THROW(PagesView(hello(), kGfnCount), ProtocolError);
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
