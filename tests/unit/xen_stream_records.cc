// The restore streams, byte for byte as docs/specs in the Xen tree draws them.

#include "libspecrep/xen/stream_records.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <initializer_list>

#include "libspecrep/guest/page.h"

namespace specrep::xen::stream {

namespace {

Bytes bytes(std::initializer_list<int> values) {
  Bytes out;
  for (const int value : values) out.push_back(static_cast<std::byte>(value));
  return out;
}

Bytes part(const Bytes& all, std::size_t first, std::size_t count) {
  const auto at = all.begin() + static_cast<std::ptrdiff_t>(first);
  return {at, at + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(xen_stream_records)

BOOST_AUTO_TEST_CASE(a_record_is_padded_to_eight_bytes) {
  Bytes out;
  const Bytes body = bytes({1, 2, 3});
  append_record(out, Libxc::kHvmParams, body);
  BOOST_TEST((out == bytes({0xa, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 0})));
}

BOOST_AUTO_TEST_CASE(a_record_without_body_has_no_padding) {
  Bytes out;
  append_record(out, Libxc::kCheckpoint);
  BOOST_TEST((out == bytes({0xe, 0, 0, 0, 0, 0, 0, 0})));
}

BOOST_AUTO_TEST_CASE(the_libxl_header_is_big_endian_and_opens_libxc) {
  Bytes out;
  append_libxl_header(out);
  BOOST_TEST((out == bytes({'L', 'i', 'b', 'x', 'l', 'F', 'm', 't', 0, 0, 0, 2, 0, 0, 0, 0,  //
                            1,   0,   0,   0,   0,   0,   0,   0})));
}

BOOST_AUTO_TEST_CASE(the_libxc_headers_name_an_hvm_domain_of_4_kib_pages) {
  Bytes out;
  append_libxc_headers(out, 4, 17);
  BOOST_TEST((part(out, 0, 8) == Bytes(8, std::byte{0xff})));
  BOOST_TEST((part(out, 8, 8) == bytes({'X', 'E', 'N', 'F', 0, 0, 0, 3})));
  BOOST_TEST((part(out, 16, 8) == Bytes(8)));
  BOOST_TEST((part(out, 24, 16) == bytes({2, 0, 0, 0, 12, 0, 0, 0, 4, 0, 0, 0, 17, 0, 0, 0})));
}

BOOST_AUTO_TEST_CASE(page_data_counts_its_pages_in_its_length) {
  Bytes out;
  const std::uint64_t pfns[] = {5, 0x100};
  append_page_data_head(out, pfns, 2);
  BOOST_TEST((part(out, 0, 4) == bytes({1, 0, 0, 0})));
  std::uint32_t length;
  std::memcpy(&length, out.data() + 4, sizeof length);
  BOOST_TEST(length == 8 + 2 * 8 + 2 * kPageBytes);
  BOOST_TEST((part(out, 16, 16) == bytes({5, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0})));
}

BOOST_AUTO_TEST_CASE(page_data_without_pages_says_that_there_are_none) {
  Bytes out;
  const std::uint64_t pfn = 0;
  append_page_data_head(out, std::span(&pfn, 1), 0);
  BOOST_TEST(out.size() == 24u);
  BOOST_TEST((out[23] == std::byte{0xf0}));  // XTAB in the topmost four bits
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace specrep::xen::stream
