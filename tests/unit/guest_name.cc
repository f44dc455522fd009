// Guests' names that come from another host.
#include "libspecrep/guest/name.h"

#include <boost/test/unit_test.hpp>

namespace specrep::guest {

BOOST_AUTO_TEST_SUITE(guest_name)

BOOST_AUTO_TEST_CASE(a_file_is_called_after_the_guest_only_in_its_folder) {
  for (const std::string& good : {std::string("web1"), std::string("Büro 2 (alt)"), std::string("a.b--c"),
                                  std::string(200, 'x')}) {
    BOOST_TEST(is_file_name(good), good);
    BOOST_CHECK_NO_THROW(check_name(good));
  }
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string("../../etc/cron.d/x"), std::string("/x"),
        std::string("a/b"), std::string(".hidden"), std::string("a\nb"), std::string("a\0b", 3),
        std::string("a\x7f"), std::string(201, 'x')}) {
    BOOST_TEST(!is_file_name(bad), bad);
    BOOST_CHECK_THROW(check_name(bad), Error);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace specrep::guest
