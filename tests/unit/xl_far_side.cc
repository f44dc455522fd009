// The control channel to the other host, with a shell command in its place (as `-s ''` does).

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <fstream>

#include "libspecrep/error.h"
#include "libspecrep/wire/message.h"
#include "xl-plugin/far_side.h"

namespace {

using namespace specrep;
using xl::FarSide;

xl::SignalFd& signals() {
  static xl::SignalFd fd;
  return fd;
}

// A file with encoded messages, for a far side that is no more than `cat`.
class Recording {
 public:
  explicit Recording(std::vector<wire::Message> messages) {
    std::ofstream file(path_, std::ios::binary);
    for (wire::Message& message : messages) {
      const auto head = wire::encode_head(message);
      file.write(reinterpret_cast<const char*>(head.data()),
                 static_cast<std::streamsize>(head.size()));
    }
  }
  ~Recording() { std::remove(path_.c_str()); }
  // Plays it, then reads until the near side closes.
  std::string command() const { return "cat " + path_ + "; cat > /dev/null"; }

 private:
  static inline int number_ = 0;
  std::string path_ =
      "far_side_recording." + std::to_string(getpid()) + "." + std::to_string(number_++);
};

std::string greeting_error(const std::string& command) {
  FarSide far_side(command, "", signals());
  try {
    far_side.greet();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

Error survey_error(FarSide& far_side) {
  try {
    far_side.survey({});
  } catch (const Error& error) {
    return error;
  }
  return Error("no error");
}

bool contains(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

wire::Message hello_of_version(std::uint32_t version) {
  wire::Message message = wire::hello();
  message.envelope.mutable_hello()->set_protocol_min(version);
  message.envelope.mutable_hello()->set_protocol_max(version);
  return message;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(xl_far_side)

BOOST_AUTO_TEST_CASE(greets_a_far_side_and_hears_its_answer) {
  wire::Message reply;
  reply.envelope.mutable_survey_reply()->add_findings()->set_subject("memory");
  const Recording recording({wire::hello(), reply});
  FarSide far_side(recording.command(), "", signals());
  far_side.greet();
  BOOST_TEST(!far_side.peer().empty());
  const auto findings = far_side.survey({});
  BOOST_REQUIRE(findings.size() == 1u);
  BOOST_TEST(findings[0].subject() == "memory");
}

BOOST_AUTO_TEST_CASE(an_unreachable_host_gives_the_last_words_of_ssh) {
  const std::string error =
      greeting_error("echo first >&2; echo 'ssh: connect: No route to host' >&2; exit 255");
  BOOST_TEST(contains(error, "cannot reach"));
  BOOST_TEST(contains(error, ": ssh: connect: No route to host"));
}

BOOST_AUTO_TEST_CASE(a_host_without_specrep_is_named) {
  BOOST_TEST(contains(greeting_error("no-such-program-here"), "specrep is not installed"));
  BOOST_TEST(contains(greeting_error("echo command not implemented >&2; exit 1"),
                      "specrep is not installed"));
}

BOOST_AUTO_TEST_CASE(a_banner_is_quoted) {
  BOOST_TEST(contains(greeting_error("echo Welcome to h2; sleep 10"), "Welcome to h2"));
}

BOOST_AUTO_TEST_CASE(versions_that_do_not_fit_are_told) {
  const Recording recording({hello_of_version(99)});
  BOOST_TEST(contains(greeting_error(recording.command()), "protocol 99"));
}

BOOST_AUTO_TEST_CASE(the_far_sides_own_failure_is_passed_on) {
  const Recording recording({wire::hello(), wire::failure(Error("out of memory", "add some"))});
  FarSide far_side(recording.command(), "", signals());
  far_side.greet();
  const Error error = survey_error(far_side);
  BOOST_TEST(contains(error.what(), "out of memory"));
  BOOST_TEST(error.advice() == "add some");
}

BOOST_AUTO_TEST_CASE(a_far_side_that_dies_between_is_told_as_such) {
  const Recording recording({wire::hello()});
  // One byte of what the near side says, so that it dies after the greeting.
  const std::string command = recording.command();
  FarSide far_side(command.substr(0, command.find(';')) + "; head -c 1 >/dev/null; exit 3", "",
                   signals());
  far_side.greet();
  BOOST_TEST(contains(survey_error(far_side).what(), "exit status 3"));
}

BOOST_AUTO_TEST_CASE(stand_down_reaches_the_far_side_before_it_is_let_go) {
  const Recording recording({wire::hello()});
  const std::string heard = "far_side_heard." + std::to_string(getpid());
  const std::string command = recording.command();
  {
    FarSide far_side(command.substr(0, command.find(';')) + "; cat > " + heard, "", signals());
    far_side.greet();
    far_side.stand_down("the guest lives on");
    BOOST_CHECK(far_side.wait_for_outcome(std::chrono::seconds(10)) == FarSide::Copy::kDiscarded);
  }
  std::ifstream file(heard, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  BOOST_TEST(contains(bytes, "the guest lives on"));
  std::remove(heard.c_str());
}

// Whoever has the key may still talk without end.
BOOST_AUTO_TEST_CASE(one_that_talks_without_end_is_heard_in_portions) {
  wire::Message notice;
  notice.envelope.mutable_notice()->set_text("I say");
  std::vector<wire::Message> talk(20 * FarSide::kMessagesMax, notice);
  talk.insert(talk.begin(), wire::hello());
  const Recording recording(talk);
  {
    FarSide far_side(recording.command(), "", signals());
    far_side.greet();
    std::size_t heard = 0;
    while (heard < 20 * FarSide::kMessagesMax) {
      const auto messages = far_side.take_messages();
      BOOST_REQUIRE(messages.size() <= FarSide::kMessagesMax);
      heard += messages.size();
    }
  }
  FarSide far_side(recording.command(), "", signals());
  far_side.greet();
  BOOST_TEST(contains(survey_error(far_side).what(), "does not answer"));
  BOOST_TEST(far_side.take_lines().size() <= 200u);
}

wire::Message outcome(wire::Outcome::Kind kind) {
  wire::Message message;
  message.envelope.mutable_outcome()->set_kind(kind);
  return message;
}

FarSide::Copy copy_after(const std::string& command, std::chrono::milliseconds timeout) {
  FarSide far_side(command, "", signals());
  far_side.greet();
  return far_side.wait_for_outcome(timeout);
}

BOOST_AUTO_TEST_CASE(what_became_of_the_copy_is_believed_only_from_the_far_side_itself) {
  const std::chrono::seconds long_enough(10);
  const std::chrono::milliseconds short_time(200);
  const auto ends = [](const Recording& recording, const std::string& how) {
    const std::string command = recording.command();
    // After a byte of what the near side says, so that it does not die before the greeting.
    return command.substr(0, command.find(';')) + "; head -c 1 >/dev/null; " + how;
  };
  using Copy = FarSide::Copy;
  const Recording silent({wire::hello()});
  const Recording discarded({wire::hello(), outcome(wire::Outcome::DISCARDED)});
  const Recording activated({wire::hello(), outcome(wire::Outcome::ACTIVATED)});
  BOOST_CHECK(copy_after(ends(discarded, "exec sleep 5"), long_enough) == Copy::kDiscarded);
  BOOST_CHECK(copy_after(ends(activated, "exec sleep 5"), long_enough) == Copy::kActivated);
  // Its specrep ended and says so by its status. Not when anything on the way failed, nor when it
  // died while it activated its copy.
  BOOST_CHECK(copy_after(ends(silent, "exit 73"), long_enough) == Copy::kDiscarded);
  BOOST_CHECK(copy_after(ends(activated, "exit 0"), long_enough) == Copy::kActivated);
  BOOST_CHECK(copy_after(ends(silent, "exit 1"), long_enough) == Copy::kUnknown);
  BOOST_CHECK(copy_after(ends(silent, "kill -TERM $$"), long_enough) == Copy::kUnknown);
  BOOST_CHECK(copy_after(ends(silent, "exit 255"), long_enough) == Copy::kUnknown);
  BOOST_CHECK(copy_after(ends(silent, "exit 74"), long_enough) == Copy::kUnknown);
  BOOST_CHECK(copy_after(ends(silent, "exec sleep 5"), short_time) == Copy::kUnknown);
}

BOOST_AUTO_TEST_CASE(an_own_ssh_command_gets_host_and_command) {
  FarSide far_side("h2", "sh -c 'echo \"$0 $*\" >&2; exit 255'", signals());
  try {
    far_side.greet();
    BOOST_FAIL("no error");
  } catch (const Error& error) {
    BOOST_TEST(contains(error.what(), "cannot reach h2: h2 xl remus-spec-receive"));
  }
}

BOOST_AUTO_TEST_SUITE_END()
