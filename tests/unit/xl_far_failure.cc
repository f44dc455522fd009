// What the operator is told when specrep on the other host cannot be talked to.

#include <boost/test/unit_test.hpp>

#include "xl-plugin/far_failure.h"

namespace {

using specrep::Error;
using specrep::xl::explain;
using specrep::xl::FarFailure;

FarFailure exited(int status, const std::string& last_line = {}) {
  FarFailure failure;
  failure.host = "h2";
  failure.status = status << 8;  // as waitpid() gives it
  failure.last_line = last_line;
  return failure;
}

bool says(const Error& error, const char* what) {
  return std::string(error.what()).find(what) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(xl_far_failure)

BOOST_AUTO_TEST_CASE(an_unreachable_host_is_told_with_the_words_of_ssh) {
  const Error error = explain(exited(255, "ssh: connect to host h2 port 22: No route to host"));
  BOOST_TEST(says(error, "cannot reach h2: ssh: connect to host h2 port 22: No route to host"));
  BOOST_TEST(error.advice().find("`ssh h2 true`") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_host_without_specrep_is_told_by_either_shell_or_xl) {
  BOOST_TEST(says(explain(exited(127, "sh: 1: xl: not found")), "specrep is not installed on h2"));
  BOOST_TEST(says(explain(exited(1, "command not implemented")), "specrep is not installed on h2"));
}

BOOST_AUTO_TEST_CASE(garbage_is_quoted_and_start_up_files_are_blamed) {
  FarFailure failure = exited(0);
  failure.garbage = "no specrep message but \"Welcome\"";
  const Error error = explain(failure);
  BOOST_TEST(says(error, "Welcome"));
  BOOST_TEST(error.advice().find("start-up files") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(silence_is_a_time_out) {
  FarFailure failure = exited(0);
  failure.status.reset();
  BOOST_TEST(says(explain(failure), "h2 did not answer in time"));
}

BOOST_AUTO_TEST_CASE(an_end_after_the_greeting_is_not_called_a_missing_installation) {
  FarFailure failure = exited(127);
  failure.greeted = true;
  BOOST_TEST(says(explain(failure), "specrep on h2 ended (exit status 127)"));
}

BOOST_AUTO_TEST_CASE(with_an_own_command_the_advice_does_not_speak_of_ssh) {
  FarFailure failure = exited(255);
  failure.own_command = true;
  BOOST_TEST(explain(failure).advice() == "run the command of -s by hand");
}

BOOST_AUTO_TEST_SUITE_END()
