// Child processes as the guardian starts and watches them.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <thread>

#include "libspecrep/error.h"
#include "xl-plugin/process.h"

namespace {

using namespace specrep::xl;
using namespace std::chrono_literals;

std::vector<std::string> read_to_end(int fd) {
  LineReader lines(fd);
  std::vector<std::string> all;
  while (!lines.at_end()) {
    for (std::string& line : lines.read()) all.push_back(std::move(line));
    std::this_thread::sleep_for(1ms);
  }
  return all;
}

// A process of a group that no shell looks after is not stopped by Ctrl-Z in any case.
bool ignores(pid_t pid, int number) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("SigIgn:"))
      return std::stoull(line.substr(7), nullptr, 16) >> (number - 1) & 1;
  return false;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(xl_process)

BOOST_AUTO_TEST_CASE(a_child_gets_its_descriptors) {
  Pipe out = make_pipe();
  Pipe three = make_pipe();
  BOOST_TEST(write(three.write_end.get(), "secret\n", 7) == 7);
  three.write_end.reset();
  Process::Options options;
  options.out = out.write_end.get();
  options.three = three.read_end.get();
  Process child({"/bin/sh", "-c", "cat <&3; cat; echo end"}, options);
  out.write_end.reset();
  const auto lines = read_to_end(out.read_end.get());
  BOOST_REQUIRE(lines.size() == 2u);
  BOOST_TEST(lines[0] == "secret");
  BOOST_TEST(lines[1] == "end");  // standard input was empty
}

BOOST_AUTO_TEST_CASE(a_program_that_is_missing_is_an_error_at_once) {
  BOOST_CHECK_THROW(Process({"/nonexistent/program"}, {}), specrep::Error);
}

BOOST_AUTO_TEST_CASE(the_status_of_a_killed_child_names_the_signal) {
  Process child({"/bin/sleep", "60"}, {});
  BOOST_TEST(!child.wait(0ms).has_value());
  child.signal(SIGKILL);
  const auto status = child.wait(5s);
  BOOST_REQUIRE(status.has_value());
  BOOST_TEST(describe_status(*status) == "killed by signal 9 (Killed)");
  BOOST_TEST(describe_status(3 << 8) == "exit status 3");
}

BOOST_AUTO_TEST_CASE(a_child_that_ignores_interrupts_outlives_them_but_not_its_owner) {
  pid_t pid = -1;
  {
    Pipe out = make_pipe();
    Process::Options options;
    options.out = out.write_end.get();
    options.ignores_interrupts = true;
    Process child({"/bin/sh", "-c", "echo $$; exec sleep 60"}, options);
    char text[32] = {};
    BOOST_REQUIRE(read(out.read_end.get(), text, sizeof text - 1) > 0);
    pid = std::stoi(text);
    child.signal(SIGINT);
    child.signal(SIGHUP);
    BOOST_TEST(!child.wait(200ms).has_value());
    for (const int number : {SIGTSTP, SIGTTIN, SIGTTOU}) BOOST_TEST(ignores(pid, number));
  }
  BOOST_TEST(kill(pid, 0) == -1);
}

BOOST_AUTO_TEST_CASE(lines_are_whole_whatever_pieces_they_come_in) {
  Pipe pipe = make_pipe();
  LineReader lines(pipe.read_end.get());
  BOOST_TEST(write(pipe.write_end.get(), "one\ntw", 6) == 6);
  BOOST_TEST(lines.read().size() == 1u);
  BOOST_TEST(write(pipe.write_end.get(), "o\r\nlast", 7) == 7);
  BOOST_TEST(lines.read().front() == "two");
  pipe.write_end.reset();
  BOOST_TEST(lines.read().front() == "last");
  BOOST_TEST(lines.at_end());
}

// It ends although the other side writes on.
BOOST_AUTO_TEST_CASE(lines_without_end_come_in_portions) {
  Pipe out = make_pipe();
  Process::Options options;
  options.out = out.write_end.get();
  Process child({"/bin/sh", "-c", "exec yes"}, options);
  out.write_end.reset();
  LineReader lines(out.read_end.get());
  for (std::size_t heard = 0; heard < 10 * LineReader::kReadBytesMax;) {
    const auto some = lines.read();
    BOOST_REQUIRE(some.size() <= LineReader::kReadBytesMax / 2);  // each has an end of its own
    heard += some.size() * 2;
  }
}

BOOST_AUTO_TEST_SUITE_END()
