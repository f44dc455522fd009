#include <boost/test/unit_test.hpp>

#include "libspecrep/pool/certificates.h"

namespace {

using namespace specrep::pool;

Host host(const std::string& name) {
  Host host;
  host.name = name;
  host.management_address = "10.0.0.1";
  host.replication_address = "fd00::1";
  return host;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pool_certificates)

BOOST_AUTO_TEST_CASE(a_host_s_certificate_is_of_its_key_and_its_pool) {
  const std::string authority_key = make_key();
  const std::string authority = make_authority(authority_key, "web");
  const std::string key = make_key();
  // The request's name does not count.
  const std::string certificate =
      sign_request(make_request(key, "somebody-else"), host("xen1"), authority, authority_key);
  BOOST_TEST(belongs(certificate, key, authority));
  const CertificateFacts facts = read_certificate(certificate);
  BOOST_TEST(facts.host == "xen1");
  const auto left = facts.ends - std::chrono::system_clock::now();
  BOOST_CHECK(left > kCertificateLife - std::chrono::hours(1) && left <= kCertificateLife);

  BOOST_TEST(!belongs(certificate, make_key(), authority));
  const std::string other_key = make_key();
  BOOST_TEST(!belongs(certificate, key, make_authority(other_key, "web")));
  // No host can make itself an authority.
  const std::string forged =
      sign_request(make_request(other_key, "xen2"), host("xen2"), certificate, key);
  BOOST_TEST(!belongs(forged, other_key, authority));
}

BOOST_AUTO_TEST_CASE(what_is_not_what_it_should_be_is_refused) {
  const std::string key = make_key();
  const std::string authority = make_authority(key, "web");
  const std::string request = make_request(key, "xen1");
  BOOST_CHECK_THROW(sign_request("nothing", host("xen1"), authority, key), specrep::Error);
  BOOST_CHECK_THROW(sign_request(request, host("xen1"), "nothing", key), specrep::Error);
  BOOST_CHECK_THROW(sign_request(request, host("xen1"), authority, "nothing"), specrep::Error);
  BOOST_CHECK_THROW(read_certificate(key), specrep::Error);
  std::string damaged = request;
  // In the signature, which stands at the end.
  char& letter = damaged[damaged.rfind("\n-----END") - 8];
  letter = letter == 'A' ? 'B' : 'A';
  BOOST_CHECK_THROW(sign_request(damaged, host("xen1"), authority, key), specrep::Error);
}

BOOST_AUTO_TEST_SUITE_END()
