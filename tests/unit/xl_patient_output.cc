// What a command says while nobody reads.
#include "xl-plugin/patient_output.h"

#include <poll.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <optional>
#include <sstream>

#include "xl-plugin/process.h"

namespace {

using namespace specrep::xl;

struct Outputs {
  void begin() {
    output.emplace(PatientOutput::Target{out, out_pipe.write_end.get()},
                   PatientOutput::Target{err, err_pipe.write_end.get()});
  }
  // Of what has come, and comes within a while.
  static std::string read_all(const Pipe& pipe) {
    std::string all;
    char bytes[4096];
    for (pollfd in{pipe.read_end.get(), POLLIN, 0}; poll(&in, 1, 300) == 1;) {
      const ssize_t got = read(in.fd, bytes, sizeof bytes);
      if (got <= 0) break;
      all.append(bytes, static_cast<std::size_t>(got));
    }
    return all;
  }

  Pipe out_pipe = make_pipe(), err_pipe = make_pipe();
  std::ostringstream out, err;  // what they hold by themselves is nobody's
  std::optional<PatientOutput> output;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(xl_patient_output)

BOOST_AUTO_TEST_CASE(all_that_is_said_is_there_at_the_end) {
  Outputs outputs;
  outputs.begin();
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    outputs.out << "line " << i << std::endl;
    expected += "line " + std::to_string(i) + "\n";
  }
  outputs.out << "no end";
  outputs.err << "error" << std::flush;
  outputs.output.reset();
  outputs.out_pipe.write_end.reset();
  outputs.err_pipe.write_end.reset();
  BOOST_TEST(Outputs::read_all(outputs.out_pipe) == expected + "no end");
  BOOST_TEST(Outputs::read_all(outputs.err_pipe) == "error");
}

BOOST_AUTO_TEST_CASE(texts_for_one_reader_keep_their_order) {
  Outputs outputs;
  outputs.output.emplace(PatientOutput::Target{outputs.out, outputs.out_pipe.write_end.get()},
                         PatientOutput::Target{outputs.err, outputs.out_pipe.write_end.get()});
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    (i % 3 == 0 ? outputs.err : outputs.out) << i << std::endl;
    expected += std::to_string(i) + "\n";
  }
  outputs.output.reset();
  BOOST_TEST(Outputs::read_all(outputs.out_pipe) == expected);
}

// Two MiB, where a pipe takes 64 KiB: it would not come to its end.
BOOST_AUTO_TEST_CASE(who_does_not_read_holds_nobody_up) {
  Outputs outputs;
  outputs.begin();
  const std::string line(1023, 'x');
  for (int i = 0; i < 2048; ++i) outputs.out << line << std::endl;
  outputs.err << "heard all the same" << std::endl;
  BOOST_TEST(Outputs::read_all(outputs.err_pipe) == "heard all the same\n");

  const std::string read = Outputs::read_all(outputs.out_pipe);
  const std::size_t lines = read.size() / 1024;
  BOOST_TEST(read.size() % 1024 == 0u);  // each is whole
  BOOST_TEST(lines >= 1024u);
  BOOST_TEST(lines < 2048u);
  BOOST_TEST(Outputs::read_all(outputs.err_pipe) ==
             "(" + std::to_string(2048 - lines) + " texts were dropped, since nobody read on)\n");
  outputs.out << "and goes on" << std::endl;
  BOOST_TEST(Outputs::read_all(outputs.out_pipe) == "and goes on\n");
}

BOOST_AUTO_TEST_CASE(a_reader_that_has_gone_is_not_waited_for) {
  Outputs outputs;
  outputs.begin();
  outputs.out_pipe.read_end.reset();
  outputs.out << "nobody" << std::endl;
  outputs.err << "error" << std::endl;
  BOOST_TEST(Outputs::read_all(outputs.err_pipe) == "error\n");
}

BOOST_AUTO_TEST_SUITE_END()
