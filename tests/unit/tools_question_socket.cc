// Who asks an agent, and how: over a socket of root's.
#include "tools/agent/question_socket.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstring>

#include "folder.h"
#include "libspecrep/error.h"

namespace specrep {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

// A socket that counts what it was asked, and an asker.
struct Asked {
  explicit Asked(std::size_t answer_bytes = 0) : answer_bytes(answer_bytes) {
    BOOST_REQUIRE(connect(asker, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0);
  }
  ~Asked() { close(asker); }

  void ask(const std::string& lines) const {
    BOOST_REQUIRE(send(asker, lines.data(), lines.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
                  static_cast<ssize_t>(lines.size()));
  }
  // What the socket has to do now.
  void serve() {
    sigset_t none;
    sigemptyset(&none);
    for (int i = 0; i < 4; ++i) socket.serve(0ms, none);
  }
  // What came in answer.
  void receive() {
    char bytes[64 * 1024];
    for (ssize_t got = 0; (got = recv(asker, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;)
      received.append(bytes, static_cast<std::size_t>(got));
  }
  // The next whole line of it.
  json answer() {
    for (int i = 0; i < 1000 && received.find('\n') == std::string::npos; ++i) {
      serve();
      receive();
    }
    const auto end = received.find('\n');
    BOOST_REQUIRE(end != std::string::npos);
    const json line = json::parse(received.substr(0, end));
    received.erase(0, end + 1);
    return line;
  }

  const Folder folder;
  const std::string path = folder / "socket";
  const std::size_t answer_bytes;
  int asked = 0;
  tools::QuestionSocket socket{
      path, [this](const json& question) -> json {
        if (question.value("ask", "") != "number") throw Error("no");
        return {{"number", asked++}, {"text", std::string(answer_bytes, 'x')}};
      }};
  sockaddr_un name = [this] {
    sockaddr_un made{};
    made.sun_family = AF_UNIX;
    std::memcpy(made.sun_path, path.c_str(), path.size());
    return made;
  }();
  const int asker = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string received;
};

const std::string kQuestion = "{\"ask\":\"number\"}\n";

}  // namespace

BOOST_AUTO_TEST_SUITE(tools_question_socket)

BOOST_AUTO_TEST_CASE(questions_are_answered_in_their_order) {
  Asked it;
  it.ask(kQuestion + kQuestion);
  BOOST_TEST(it.answer()["number"] == 0);
  BOOST_TEST(it.answer()["number"] == 1);
  it.ask(kQuestion.substr(0, 5));
  it.serve();
  it.ask(kQuestion.substr(5));
  BOOST_TEST(it.answer()["number"] == 2);
}

BOOST_AUTO_TEST_CASE(what_is_no_question_gets_an_error) {
  Asked it;
  for (const std::string line : {"", "nonsense", "[]", "{\"ask\":7}", "{\"ask\":\"why\"}"}) {
    it.ask(line + "\n");
    BOOST_TEST(it.answer().contains("error"), line);
  }
  it.ask(std::string(50000, '[') + std::string(50000, ']') + "\n" + kQuestion);
  BOOST_TEST(it.answer().contains("error"));
  BOOST_TEST(it.answer()["number"] == 0);
}

// Whoever asks without end and hears nothing is answered no more than a socket takes, and one
// besides.
BOOST_AUTO_TEST_CASE(who_does_not_listen_takes_no_more_memory) {
  constexpr int kQuestions = 500;
  Asked it(1 << 20);
  std::string questions;
  for (int i = 0; i < kQuestions; ++i) questions += kQuestion;
  it.ask(questions);
  for (int i = 0; i < 10; ++i) it.serve();
  BOOST_TEST(it.asked == 1);
  for (int i = 0; i < kQuestions; ++i) BOOST_REQUIRE(it.answer()["number"] == i);
}

BOOST_AUTO_TEST_CASE(who_hangs_up_is_forgotten_and_others_are_answered) {
  Asked it(1 << 20);
  it.ask(kQuestion + kQuestion);
  it.serve();
  const int other = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  BOOST_REQUIRE(connect(other, reinterpret_cast<sockaddr*>(&it.name), sizeof it.name) == 0);
  it.serve();
  shutdown(other, SHUT_RDWR);
  close(other);
  BOOST_TEST(it.answer()["number"] == 0);
  BOOST_TEST(it.answer()["number"] == 1);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace specrep
