// What comes from a device model: replies, and what is none.

#include "libspecrep/xen/qmp.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "folder.h"
#include "libspecrep/error.h"

namespace specrep::xen {

namespace {

constexpr std::uint32_t kDomid = 7;

// Says the same to whoever connects, whatever it is asked: all at once, and closes when the other
// side does.
class Speaker {
 public:
  explicit Speaker(std::string says) : says_(std::move(says)) {
    listening_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    (folder() + "/qmp-libxl-" + std::to_string(kDomid)).copy(address.sun_path, 100);
    BOOST_REQUIRE(!bind(listening_, reinterpret_cast<const sockaddr*>(&address), sizeof address));
    BOOST_REQUIRE(!listen(listening_, 1));
    thread_ = std::thread([this] { speak(); });
  }

  ~Speaker() {
    shutdown(listening_, SHUT_RDWR);
    thread_.join();
    close(listening_);
  }

  std::string folder() const { return folder_.path; }

 private:
  void speak() const {
    const int fd = accept(listening_, nullptr, nullptr);
    if (fd < 0) return;
    send(fd, says_.data(), says_.size(), MSG_NOSIGNAL);
    char heard[256];
    while (read(fd, heard, sizeof heard) > 0) {
    }
    close(fd);
  }

  const Folder folder_;
  std::string says_;
  int listening_ = -1;
  std::thread thread_;
};

const std::string kGreeting = "{\"QMP\": {}}\n{\"return\": {}}\n";

// What is wrong with that reply to a command, in the words of the Error.
std::string error_of(const std::string& reply) {
  const Speaker speaker(kGreeting + reply + "\n");
  try {
    Qmp(kDomid, speaker.folder()).execute("stop");
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(xen_qmp)

BOOST_AUTO_TEST_CASE(a_reply_is_what_was_returned_and_events_are_passed_over) {
  const Speaker speaker(kGreeting + R"({"event": "STOP"}
{"return": {"running": false}}
)");
  BOOST_TEST(!Qmp(kDomid, speaker.folder()).execute("query-status").value("running", true));
}

BOOST_AUTO_TEST_CASE(a_refusal_is_given_in_the_device_models_words) {
  BOOST_TEST(error_of(R"({"error": {"desc": "not now"}})") ==
             "the device model of domain 7 refused stop: not now");
  BOOST_TEST(error_of(R"({"error": {}})") ==
             "the device model of domain 7 refused stop: no reason given");
}

// Each was undefined behaviour, or an exception that nobody caught while the guest stood still.
BOOST_DATA_TEST_CASE(what_is_no_reply_is_an_error,
                     boost::unit_test::data::make({"{}", "[]", "[1]", "7", "null", "\"return\"",
                                                   R"({"error": 1})", R"({"error": {"desc": 1}})"}),
                     reply) {
  BOOST_TEST(error_of(reply) == "the device model of domain 7 answered stop with what is no reply");
}

BOOST_AUTO_TEST_CASE(what_is_no_json_is_an_error) {
  BOOST_TEST(error_of("{\"return\": ") ==
             "the device model of domain 7 answered stop with invalid JSON");
}

BOOST_AUTO_TEST_CASE(a_reply_without_end_is_not_kept_for_ever) {
  BOOST_TEST(error_of(std::string(3 << 20, ' ')) ==
             "the device model of domain 7 went away while it was to stop");
}

BOOST_AUTO_TEST_CASE(without_a_device_model_it_says_where_it_looked) {
  BOOST_CHECK_EXCEPTION(Qmp(kDomid, "/nonexistent"), Error, [](const Error& error) {
    return std::string(error.what()) ==
           "cannot reach the device model of domain 7 at /nonexistent/qmp-libxl-7: No such file or "
           "directory";
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace specrep::xen
