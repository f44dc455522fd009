// xl remus-spec-top: what this host protects and keeps copies of, as it goes.

#include <langinfo.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <clocale>
#include <cmath>
#include <cstring>
#include <iostream>

#include "libspecrep/xen/host.h"
#include "libspecrep/xen/registry.h"
#include "tools/event_log.h"
#include "xl-plugin/command.h"
#include "xl-plugin/process.h"
#include "xl-plugin/screen.h"

namespace specrep::xl {

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  bool json = false;
  unsigned count = 0;  // 0: until it is ended
  double delay_s = 1;
};

class Top {
 public:
  explicit Top(const Options& options) : options_(options), host_(xen::host_name()) {
    if (!options.json && isatty(STDOUT_FILENO) == 1 && isatty(STDIN_FILENO) == 1)
      screen_ = Screen::open();
  }

  void run() {
    auto next = Clock::now();
    for (unsigned shown = 0;;) {
      read();
      show();
      if (++shown == options_.count) return;
      // When a display took long, not all that were missed at once.
      next = std::max(next + interval_, Clock::now());
      if (!wait_until(next)) return;
    }
  }

 private:
  void read() {
    entries_ = xen::list_protections();
    follow(trends_, entries_);
    read_unix_s_ = tools::unix_now();
  }

  void show() {
    if (options_.json) {
      std::cout << nlohmann::json({{"time", tools::utc_time(read_unix_s_)},
                                   {"host", host_},
                                   {"guests", entries_}})
                       .dump()
                << std::endl;
      return;
    }
    TopOptions view{host_, read_unix_s_, kTopColumnsMin, 0,
                    std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0};
    if (screen_) {
      view.columns = screen_->columns();
      view.rows = screen_->rows();
      screen_->draw(top_view(entries_, trends_, view));
    } else {
      std::cout << plain_text(top_view(entries_, trends_, view)) << std::endl;
    }
  }

  // False when it is to end.
  bool wait_until(Clock::time_point until) {
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
      if (left <= 0) return true;
      // Without a screen, what is typed is none of our business.
      pollfd set[] = {{signals_.fd(), POLLIN, 0}, {screen_ ? STDIN_FILENO : -1, POLLIN, 0}};
      poll(set, std::size(set), static_cast<int>(left));
      if (signals_.take() != 0) return false;
      if (!screen_) continue;
      if (set[1].revents & (POLLHUP | POLLERR)) return false;  // the terminal is gone
      for (int key = 0; (key = screen_->key()) != Screen::kNothing;) {
        if (key == 'q' || key == 'Q') return false;
        if (key == Screen::kResized) show();
      }
    }
  }

  const Options options_;
  const std::string host_;
  const Clock::duration interval_ =
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.delay_s));
  // Before the screen, which is given back when one comes.
  SignalFd signals_;
  std::unique_ptr<Screen> screen_;
  nlohmann::json entries_;
  double read_unix_s_ = 0;
  Trends trends_;
};

}  // namespace

int top(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Shows the guests that this host protects, and the copies that it keeps, as it goes; q ends "
      "it. Means of the last 5 s, per epoch. EPOCH: how long the guest runs. PAUSE: how long it is "
      "stopped. LAG: from then until the backup has committed. DELAY: how long the first frame "
      "that it sends in an epoch is held back, the sum of these. LEFT: pages sent at the epoch's "
      "end. WASTE: pages sent before it in vain.",
      "xl remus-spec-top");
  app.add_flag("--json", options.json, "an object a line, with everything that is known");
  app.add_option("-n,--count", options.count, "end after so many displays")
      ->type_name("COUNT")
      ->check(CLI::Range(1u, 1'000'000'000u));
  app.add_option("-d,--delay", options.delay_s, "time between two displays, in s [1]")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.1, 3600.0));
  if (const auto status = parse(app, argc, argv)) return *status;
  std::setlocale(LC_CTYPE, "");
  Top(options).run();
  return kOk;
}

}  // namespace specrep::xl
