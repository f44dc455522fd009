#define BOOST_TEST_MODULE specrep
#include <boost/test/unit_test.hpp>
