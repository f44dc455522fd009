#pragma once

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <string>

#include "libspecrep/clock.h"
#include "libspecrep/error.h"

// What the tests of both arbiters need.
namespace specrep {

inline const std::string kGuest = "6c3f2b9a-0d1e-4f5a-8b7c-112233445566";

inline TimePoint now() { return std::chrono::steady_clock::now(); }

// Both what happened and what to do must be there.
inline bool is_helpful(const Error& e) {
  BOOST_TEST_MESSAGE(e.what() << "; " << e.advice());
  return std::strlen(e.what()) > 0 && !e.advice().empty();
}

}  // namespace specrep
