#include "libspecrep/output/input_hold.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <fstream>
#include <utility>

#include "libspecrep/error.h"
#include "libspecrep/output/network_buffer.h"

namespace specrep::output {

using namespace std::chrono_literals;

namespace {

// Of a frame that Ethernet could carry at all; a tap hands on none that is longer.
constexpr std::size_t kFrameBytesMax = 64 * 1024;
// An Input that has as much is sent.
constexpr std::size_t kInputBytes = 256 * 1024;
constexpr int kInputFramesMax = 1024;
// How long the backup may take until the guest's cards are connected there.
constexpr Duration kInputWantedMax = 10s;
// When the switches send to the other host, what is under way to this one still comes: until
// nothing has for a while (a busy dom0 was seen to take more than 1 s), but broadcasts always may.
constexpr Duration kQuiet = 200ms;
constexpr Duration kUnderWayMax = 2s;
constexpr Duration kTakeInterval = 5ms;
// All that came in seconds, at once, seems to be more than a guest's sockets have room for, which
// are made for what comes usually: of 150 datagrams in the lab up to 48 were not answered.
constexpr int kPlayedFaster = 2;
constexpr Duration kPlayMax = 2500ms;
// How long what is held may take to the other host.
constexpr Duration kInputMax = 5s;

// As scripts/specrep-netbuf has it.
std::string tap_name(const CardInterface& interface) {
  return "sri" + std::to_string(interface.index);
}

Error tap_error(const CardInterface& interface, const std::string& what) {
  return Error(errno_text("cannot keep what comes for " + interface.name + ": " + what));
}

// A tap that is up, holds no address, and says nothing by itself.
int make_tap(const CardInterface& interface) {
  const int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw tap_error(interface, "/dev/net/tun");
  ifreq request{};
  const std::string name = tap_name(interface);
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool made = control >= 0 && ioctl(fd, TUNSETIFF, &request) == 0;
  if (made) {
    // Else the kernel looks for routers there, and the guest would get that.
    std::ofstream("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6") << "1";
    request.ifr_qlen = InputHold::kFramesMax;
    made = ioctl(control, SIOCSIFTXQLEN, &request) == 0;
    request.ifr_flags = IFF_UP | IFF_NOARP;
    made = made && ioctl(control, SIOCSIFFLAGS, &request) == 0;
  }
  const int error = errno;
  if (control >= 0) close(control);
  if (made) return fd;
  close(fd);
  errno = error;
  throw tap_error(interface, name);
}

// Puts frames into messages, and sends them.
class Packer {
 public:
  explicit Packer(wire::Link& link) : link_(link) {}

  void add(const CardInterface& interface, std::span<const std::byte> frame) {
    wire::Input* input = message_.envelope.mutable_input();
    if (input->frame_bytes_size() > 0 &&
        (input->card() != interface.card || input->emulated() != interface.is_emulated ||
         input->frame_bytes_size() == kInputFramesMax ||
         message_.payload.size() + frame.size() > kInputBytes)) {
      flush(false);
      input = message_.envelope.mutable_input();
    }
    input->set_card(interface.card);
    input->set_emulated(interface.is_emulated);
    input->add_frame_bytes(static_cast<std::uint32_t>(frame.size()));
    message_.payload.insert(message_.payload.end(), frame.begin(), frame.end());
  }

  // Nothing, unless there is something to say.
  void flush(bool last) {
    if (!last && message_.envelope.input().frame_bytes_size() == 0) return;
    message_.envelope.mutable_input()->set_last(last);
    link_.send(std::exchange(message_, {}));
  }

 private:
  wire::Link& link_;
  wire::Message message_;
};

}  // namespace

InputHold::InputHold(const std::string& script, const std::vector<CardInterface>& interfaces)
    : script_(script) {
  try {
    for (const CardInterface& interface : interfaces)
      taps_.push_back({interface, make_tap(interface)});
    netbuf_script::hold_input(script_, names());
  } catch (const Error&) {
    try {
      netbuf_script::give_input(script_, names());
    } catch (const Error&) {  // the first error is the one to tell
    }
    close_all();
    throw;
  }
}

InputHold::~InputHold() {
  try {
    netbuf_script::give_input(script_, names());
    FrameSender sender("cannot send to a guest");
    take([&](const CardInterface& interface, std::span<const std::byte> frame) {
      sender.send(interface.index, frame);
    });
  } catch (const Error&) {
    // What opens the output buffer does the same, and says what goes wrong.
  }
  close_all();
}

std::vector<std::string> InputHold::names() const {
  std::vector<std::string> names;
  for (const Tap& tap : taps_) names.push_back(tap.interface.name);
  return names;
}

void InputHold::close_all() {
  for (const Tap& tap : taps_) close(tap.fd);
  taps_.clear();
}

void InputHold::take(const InputSink& take) {
  std::vector<std::byte> frame(kFrameBytesMax);
  for (const Tap& tap : taps_) {
    // No more than there can be: others may send faster than this reads.
    for (int count = 0; count < kFramesMax; ++count) {
      const ssize_t bytes = read(tap.fd, frame.data(), frame.size());
      if (bytes <= 0) break;
      take(tap.interface, std::span(frame).first(static_cast<std::size_t>(bytes)));
    }
  }
}

std::vector<std::span<const std::byte>> frames_of(const wire::Message& input) {
  std::vector<std::span<const std::byte>> frames;
  std::span<const std::byte> left(input.payload);
  for (const std::uint32_t bytes : input.envelope.input().frame_bytes()) {
    if (bytes < ETH_HLEN || bytes > kFrameBytesMax || bytes > left.size())
      throw wire::ProtocolError("the primary sent a frame of " + std::to_string(bytes) +
                                " bytes for the guest, of " + std::to_string(left.size()) +
                                " that are left");
    frames.push_back(left.first(bytes));
    left = left.subspan(bytes);
  }
  if (!left.empty())
    throw wire::ProtocolError("the primary sent " + std::to_string(left.size()) +
                              " bytes for the guest that are in no frame");
  return frames;
}

std::size_t send_input(wire::Link& link, const std::function<void(const InputSink&)>& take,
                       TimePoint held_since, const Clock& clock) {
  TimePoint until = clock.now() + kInputWantedMax;
  for (bool wanted = false; !wanted;) {
    const auto event = link.wait(until);
    if (event.closed || clock.now() >= until) return 0;
    if (event.message && event.message->envelope.has_failure())
      throw wire::to_error(event.message->envelope.failure(), "the backup");
    wanted = event.message && event.message->envelope.has_input_wanted();
  }
  std::deque<std::pair<CardInterface, std::vector<std::byte>>> waiting;
  std::size_t taken = 0, sent = 0;
  const auto add = [&](const CardInterface& interface, std::span<const std::byte> frame) {
    waiting.emplace_back(interface, std::vector(frame.begin(), frame.end()));
    ++taken;
  };
  take(add);
  Packer packer(link);
  const TimePoint began = clock.now();
  const Duration play = std::min<Duration>((began - held_since) / kPlayedFaster, kPlayMax);
  const std::size_t backlog = taken;
  const TimePoint most = began + play + kUnderWayMax;
  for (TimePoint quiet = began + kQuiet;;) {
    const TimePoint now = clock.now();
    const std::size_t due = now >= began + play
                                ? taken
                                : backlog * static_cast<std::size_t>((now - began).count()) /
                                      static_cast<std::size_t>(play.count());
    for (; sent < due; ++sent) {
      packer.add(waiting.front().first, waiting.front().second);
      waiting.pop_front();
    }
    packer.flush(false);
    if (waiting.empty() && now >= std::min(quiet, most)) break;
    if (link.wait(now + kTakeInterval).closed) return sent;
    const std::size_t before = taken;
    // What is still to be played is bounded, too: the taps drop what they have no room for.
    if (waiting.size() < std::size_t{InputHold::kFramesMax}) take(add);
    if (taken > before) quiet = clock.now() + kQuiet;
  }
  packer.flush(true);
  // Until the backup has it all: it closes the link.
  for (until = clock.now() + kInputMax; clock.now() < until;)
    if (link.wait(until).closed) break;
  return sent;
}

std::size_t receive_input(wire::Link& link, const Clock& clock,
                          const std::function<void(std::uint32_t card, bool is_emulated,
                                                   std::span<const std::byte>)>& deliver) {
  wire::Message wanted;
  wanted.envelope.mutable_input_wanted();
  link.send(std::move(wanted));
  std::size_t count = 0;
  for (const TimePoint until = clock.now() + kInputMax; clock.now() < until;) {
    const auto event = link.wait(until);
    if (event.closed) break;
    if (!event.message) continue;
    if (!event.message->envelope.has_input())
      throw wire::ProtocolError("the primary sent something else than what it holds for the guest");
    const wire::Input& input = event.message->envelope.input();
    for (const auto& frame : frames_of(*event.message)) {
      deliver(input.card(), input.emulated(), frame);
      ++count;
    }
    if (input.last()) break;
  }
  return count;
}

FrameSender::FrameSender(const std::string& what)
    : socket_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) {
  if (socket_ < 0) throw Error(errno_text(what));
}

FrameSender::~FrameSender() { close(socket_); }

bool FrameSender::send(unsigned index, std::span<const std::byte> frame) {
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(index);
  return sendto(socket_, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to),
                sizeof to) == static_cast<ssize_t>(frame.size());
}

}  // namespace specrep::output
