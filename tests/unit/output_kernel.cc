// What the kernel does with a guest's frames around an activation, by real bridges and interfaces
// in a network namespace.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "libspecrep/error.h"
#include "libspecrep/output/announcement.h"
#include "libspecrep/output/bridge_port.h"
#include "libspecrep/output/input_hold.h"

namespace specrep::output {
namespace {

using namespace std::chrono_literals;

constexpr guest::Mac kGuest = {0x00, 0x16, 0x3e, 0x11, 0x22, 0x33};
constexpr guest::Mac kClient = {0x02, 0x53, 0x50, 0x45, 0x43, 0xaa};

void shell(const std::string& command) {
  BOOST_REQUIRE_MESSAGE(std::system(command.c_str()) == 0, command);
}

std::vector<std::byte> frame(const guest::Mac& to, const guest::Mac& from) {
  std::vector<std::byte> bytes(ETH_ZLEN);
  std::memcpy(bytes.data(), to.data(), to.size());
  std::memcpy(bytes.data() + to.size(), from.data(), from.size());
  bytes[2 * sizeof(guest::Mac)] = std::byte{0x88};
  bytes[2 * sizeof(guest::Mac) + 1] = std::byte{0xb5};  // for experiments (IEEE 802)
  return bytes;
}

void send(const std::string& interface, const std::vector<std::byte>& bytes) {
  FrameSender sender("a test cannot send");
  BOOST_REQUIRE(sender.send(if_nametoindex(interface.c_str()), bytes));
}

// What arrives at an interface.
class Receiver {
 public:
  explicit Receiver(const std::string& interface)
      : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    sockaddr_ll from{};
    from.sll_family = AF_PACKET;
    from.sll_protocol = htons(ETH_P_ALL);
    from.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    BOOST_REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&from), sizeof from) == 0);
    const timeval most{.tv_sec = 0, .tv_usec = 200'000};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
  }
  ~Receiver() { close(fd_); }
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  bool got(const std::vector<std::byte>& bytes) {
    std::vector<std::byte> received(2048);
    for (ssize_t count; (count = recv(fd_, received.data(), received.size(), 0)) > 0;)
      if (std::equal(bytes.begin(), bytes.end(), received.begin(), received.begin() + count))
        return true;
    return false;
  }

 private:
  const int fd_;
};

// Runs a test on a thread that has networks of its own; not where that is not allowed.
void with_networks(const std::function<void()>& test) {
  std::exception_ptr failure;
  std::thread([&] {
    try {
      if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) {
        BOOST_TEST_MESSAGE("left out: only root may make networks");
        return;
      }
      // /sys shows the networks of whoever mounted it.
      BOOST_REQUIRE(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
      BOOST_REQUIRE(mount("sysfs", "/sys", "sysfs", 0, nullptr) == 0);
      test();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

void wait_until_forwarding(const std::string& interface) {
  for (int i = 0; i < 500 && !is_forwarding(interface); ++i) std::this_thread::sleep_for(10ms);
  BOOST_TEST(is_forwarding(interface));
}

BOOST_AUTO_TEST_SUITE(output_kernel)

BOOST_AUTO_TEST_CASE(a_bridge_is_taught_where_a_guest_is_now) {
  with_networks([] {
    shell(
        "ip link add bridge type bridge forward_delay 0 mcast_snooping 0 && ip link set bridge up");
    for (const std::string port : {"wire", "vif"})
      shell("ip link add " + port + " type veth peer name " + port + "-far && ip link set " + port +
            " master bridge up");
    shell("ip link set wire-far up");
    wait_until_forwarding("wire");
    // It was behind the wire.
    send("wire-far", frame(kClient, kGuest));

    BOOST_TEST(!is_forwarding("vif"));  // no carrier
    shell("ip link set vif-far up");
    wait_until_forwarding("vif");
    Receiver at_guest("vif-far");
    const auto request = frame(kGuest, kClient);
    send("wire-far", request);
    BOOST_TEST(!at_guest.got(request));  // else there would be nothing to teach
    teach_bridge("vif", kGuest);
    send("wire-far", request);
    BOOST_TEST(at_guest.got(request));

    // As one that was learned: it goes where the guest goes next.
    send("wire-far", frame(kClient, kGuest));
    send("wire-far", request);
    BOOST_TEST(!at_guest.got(request));

    BOOST_CHECK_NO_THROW(teach_bridge("vif-far", kGuest));  // in no bridge
    shell("ip link set vif down");
    BOOST_TEST(!is_forwarding("vif"));
    BOOST_CHECK_THROW(teach_bridge("vif", kGuest), Error);
  });
}

BOOST_AUTO_TEST_CASE(addresses_are_learned_from_what_leaves) {
  with_networks([] {
    shell(
        "ip link add vif type veth peer name vif-far && ip link set vif up && ip link set vif-far "
        "up");
    AddressWatch watch({"vif"}, {kGuest});
    guest::CardAddress ipv4{.mac = kGuest, .ip = {192, 168, 88, 51}};
    guest::CardAddress stranger{.mac = kClient, .ip = {192, 168, 88, 52}};
    guest::CardAddress ipv6{.mac = kGuest,
                            .is_ipv6 = true,
                            .ip = {0xfd, 0, 0, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    for (const auto& address : {stranger, ipv4, ipv6, ipv4}) send("vif-far", announcement(address));
    // What goes to the guest says nothing of it.
    send("vif", announcement({.mac = kGuest, .ip = {192, 168, 88, 53}}));
    for (int i = 0; i < 100 && watch.addresses().size() < 2; ++i) {
      watch.look();
      std::this_thread::sleep_for(10ms);
    }
    watch.look();
    BOOST_TEST((watch.addresses() == std::vector{ipv6, ipv4}));
    BOOST_CHECK_THROW(AddressWatch({"nothing"}, {kGuest}), Error);
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::output
