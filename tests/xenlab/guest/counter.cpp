// The lab guest's service: one counter in memory, shared by all clients, and a record of requests.
//
// They are the proof that the tests need: a guest that was moved, or taken over by another
// host, must answer the next number, never one that it gave before, and know each request that
// it has answered.
//
// Port 7, over IPv4 and IPv6; TCP line by line, UDP with a line in each datagram:
//   next                   adds one to the counter and answers it
//   peek                   answers the counter
//   request STREAM NUMBER  records that request and answers "STREAM NUMBER COUNT", COUNT being how
//                          many requests of all streams are recorded; a repeated one gets its
//                          first answer again
//   recorded STREAM        answers all that is recorded of it: "NUMBER:COUNT NUMBER:COUNT ..."
//   dirty PAGES_PER_S      rewrites that many random pages a second from now on; answers "ok"
// Port 8, TCP, one word:
//   poweroff, reboot, crash
// Port 10, TCP: sends the same bytes until the client closes the connection.
//
// It is the guest's first process, so it never returns.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint16_t counter_port = 7;
constexpr std::uint16_t power_port = 8;
constexpr std::uint16_t stream_port = 10;
constexpr std::size_t stream_bytes = 64 << 10;
constexpr std::size_t page_bytes = 4096;
constexpr std::size_t load_bytes = 32 << 20;
constexpr std::size_t line_bytes_max = 128;
constexpr int load_slice_ms = 10;

// Rewrites random pages of a buffer at a given rate.
class Load {
 public:
  void set_rate(double pages_per_s) {
    pages_per_s_ = pages_per_s;
    owed_pages_ = 0;
    last_ = Clock::now();
  }

  bool idle() const { return pages_per_s_ <= 0; }

  void run() {
    const auto now = Clock::now();
    owed_pages_ += pages_per_s_ * std::chrono::duration<double>(now - last_).count();
    last_ = now;
    // What a slow machine could not do in a second is dropped, so that it never
    // spends all its time on catching up.
    if (owed_pages_ > pages_per_s_) owed_pages_ = pages_per_s_;
    const auto slice_end = now + std::chrono::milliseconds(load_slice_ms);
    while (owed_pages_ >= 1 && Clock::now() < slice_end) {
      rewrite_one_page();
      owed_pages_ -= 1;
    }
  }

 private:
  void rewrite_one_page() {
    const std::size_t page = random_() % (buffer_.size() * sizeof(std::uint64_t) / page_bytes);
    std::uint64_t* words = &buffer_[page * (page_bytes / sizeof(std::uint64_t))];
    for (std::size_t i = 0; i < page_bytes / sizeof(std::uint64_t); ++i) words[i] = random_();
  }

  std::vector<std::uint64_t> buffer_ =
      std::vector<std::uint64_t>(load_bytes / sizeof(std::uint64_t));
  std::mt19937_64 random_;
  double pages_per_s_ = 0;
  double owed_pages_ = 0;
  Clock::time_point last_;
};

// `type` is SOCK_STREAM or SOCK_DGRAM. The socket takes IPv4 as well.
int open_port(std::uint16_t port, int type) {
  const int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      (type == SOCK_STREAM && listen(fd, 64) != 0)) {
    std::perror("counter: cannot open a port");
    std::abort();
  }
  return fd;
}

void accept_streams() {
  const int listener = open_port(stream_port, SOCK_STREAM);
  static const std::vector<char> bytes(stream_bytes);
  while (true) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) continue;
    std::thread([fd] {
      while (send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0) {
      }
      close(fd);
    }).detach();
  }
}

void power(const std::string& what) {
  if (what == "poweroff") reboot(RB_POWER_OFF);
  if (what == "reboot") reboot(RB_AUTOBOOT);
  if (what == "crash") {
    const int fd = open("/proc/sysrq-trigger", O_WRONLY);
    if (fd < 0 || write(fd, "c", 1) != 1) std::perror("counter: /proc/sysrq-trigger");
  }
}

class Service {
 public:
  void run() {
    const int counter_listener = open_port(counter_port, SOCK_STREAM);
    const int power_listener = open_port(power_port, SOCK_STREAM);
    const int datagrams = open_port(counter_port, SOCK_DGRAM);
    std::thread(accept_streams).detach();
    std::printf("counter ready\n");
    std::fflush(stdout);
    while (true) {
      std::vector<pollfd> polls{
          {counter_listener, POLLIN, 0}, {power_listener, POLLIN, 0}, {datagrams, POLLIN, 0}};
      for (const auto& [fd, client] : clients_) polls.push_back({fd, POLLIN, 0});
      poll(polls.data(), polls.size(), load_.idle() ? -1 : load_slice_ms);
      load_.run();
      if (polls[0].revents) accept_client(counter_listener, false);
      if (polls[1].revents) accept_client(power_listener, true);
      if (polls[2].revents) answer_datagram(datagrams);
      for (std::size_t i = 3; i < polls.size(); ++i)
        if (polls[i].revents) read_from(polls[i].fd);
    }
  }

 private:
  struct Client {
    bool may_power = false;
    std::string line;
  };

  void accept_client(int listener, bool may_power) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    clients_[fd].may_power = may_power;
  }

  void read_from(int fd) {
    char bytes[4096];
    const ssize_t size = read(fd, bytes, sizeof bytes);
    Client& client = clients_[fd];
    bool open = size > 0;
    for (ssize_t i = 0; open && i < size; ++i) {
      if (bytes[i] != '\n') {
        client.line += bytes[i];
        open = client.line.size() <= line_bytes_max;
        continue;
      }
      if (client.may_power)
        power(client.line);
      else
        open = answer(fd, obey(client.line));
      client.line.clear();
    }
    if (!open) {
      close(fd);
      clients_.erase(fd);
    }
  }

  void answer_datagram(int fd) {
    char bytes[line_bytes_max];
    sockaddr_in6 from{};
    socklen_t from_size = sizeof from;
    const ssize_t size =
        recvfrom(fd, bytes, sizeof bytes, 0, reinterpret_cast<sockaddr*>(&from), &from_size);
    if (size < 0) return;
    const std::string text = obey(std::string(bytes, static_cast<std::size_t>(size)));
    sendto(fd, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&from), from_size);
  }

  std::string obey(const std::string& line) {
    if (line == "next") return std::to_string(++counter_);
    if (line == "peek") return std::to_string(counter_);
    std::istringstream words(line);
    std::string command, stream;
    std::uint64_t number = 0;
    words >> command >> stream;
    if (command == "request" && words >> number) {
      const auto [entry, is_new] = requests_[stream].try_emplace(number, requests_recorded_ + 1);
      if (is_new) ++requests_recorded_;
      return stream + " " + std::to_string(number) + " " + std::to_string(entry->second);
    }
    if (command == "recorded") return recorded(stream);
    if (line.rfind("dirty ", 0) == 0) {
      load_.set_rate(std::atof(line.c_str() + 6));
      return "ok";
    }
    return "unknown command";
  }

  std::string recorded(const std::string& stream) {
    std::string text;
    for (const auto& [number, count] : requests_[stream])
      text += std::to_string(number) + ":" + std::to_string(count) + " ";
    return text;
  }

  static bool answer(int fd, std::string text) {
    text += '\n';
    return send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }

  std::map<int, Client> clients_;
  std::uint64_t counter_ = 0;
  // By stream and by the client's number: how many had been recorded with it.
  std::map<std::string, std::map<std::uint64_t, std::uint64_t>> requests_;
  std::uint64_t requests_recorded_ = 0;
  Load load_;
};

}  // namespace

int main() { Service().run(); }
