#define BOOST_TEST_MODULE specrep
#include <boost/test/unit_test.hpp>
#include <csignal>

// As in the processes that channels are for; see wire::FdChannel::send().
struct NoBrokenPipes {
  NoBrokenPipes() { std::signal(SIGPIPE, SIG_IGN); }
};
BOOST_TEST_GLOBAL_FIXTURE(NoBrokenPipes);
