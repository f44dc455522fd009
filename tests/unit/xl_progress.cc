#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <sstream>

#include "xl-plugin/progress.h"

using specrep::xl::CopyProgress;

constexpr std::uint64_t kMib = 1 << 20;

BOOST_AUTO_TEST_SUITE(xl_progress)

BOOST_AUTO_TEST_CASE(a_log_gets_a_line_each_ten_per_cent) {
  std::ostringstream out;
  CopyProgress progress(out, false);
  for (std::uint64_t done = 0; done <= 100 * kMib; done += kMib)
    progress.show({"memory", done, 100 * kMib});
  const std::string text = out.str();
  BOOST_TEST(std::count(text.begin(), text.end(), '\n') == 10);
  BOOST_TEST(text.starts_with("copying memory: 10 %, 10 of 100 MiB\n"));
  BOOST_TEST(text.ends_with("copying memory: 100 %, 100 of 100 MiB\n"));
}

BOOST_AUTO_TEST_CASE(what_is_copied_is_said) {
  std::ostringstream out;
  CopyProgress progress(out, false);
  progress.show({"memory", 100, 100});
  progress.show({"what changed (round 2)", 50, 50});
  progress.show({"disks", kMib, 4 * kMib});
  BOOST_TEST(out.str().find("copying what changed (round 2): 100 %") != std::string::npos);
  BOOST_TEST(out.str().ends_with("copying disks: 25 %, 1 of 4 MiB\n"));
}

BOOST_AUTO_TEST_CASE(a_terminal_gets_one_line_that_is_redrawn_and_fits) {
  std::ostringstream out;
  CopyProgress progress(out, true);
  progress.show({"memory", 0, 1000});
  progress.show({"memory", 500, 1000});
  BOOST_TEST(out.str().find('\n') == std::string::npos);
  BOOST_TEST(out.str().find("[###############...............] 50 %") != std::string::npos);
  progress.interrupt();
  progress.interrupt();
  const std::string text = out.str();
  BOOST_TEST(std::count(text.begin(), text.end(), '\n') == 1);
}

BOOST_AUTO_TEST_CASE(nothing_to_copy_is_all_copied) {
  std::ostringstream out;
  CopyProgress progress(out, false);
  progress.show({"memory", 0, 0});
  BOOST_TEST(out.str() == "copying memory: 100 %, 0 of 0 MiB\n");
}

BOOST_AUTO_TEST_SUITE_END()
