#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host.h"
#include "libspecrep/wire/link.h"
#include "random.h"
#include "scheduler.h"

namespace specrep::sim {

// What can be cut, each for itself.
enum class Way { kData, kControl, kArbiter0, kArbiter1 };
inline constexpr std::size_t kWays = 4;

class Connection;

// What the network does at its best, by seed.
struct NetworkOptions {
  Duration latency = std::chrono::microseconds(200);
  Duration jitter = std::chrono::microseconds(100);
  double bytes_per_s = 117e6;
};

class Network {
 public:
  Network(Scheduler& scheduler, Random& random, NetworkOptions options)
      : scheduler(scheduler), random(random), options(options) {}

  bool is_cut(Way way) const { return cut_[static_cast<std::size_t>(way)]; }
  void set_cut(Way way, bool cut);
  // Heartbeats in both directions if `heartbeat` is not zero.
  std::shared_ptr<Connection> connect(Host& first, Host& second, Way way, Duration heartbeat);
  void host_lost(const Host& host);
  void host_is_back();
  // Breaks every connection of this way.
  void reset(Way way);

  Scheduler& scheduler;
  Random& random;
  NetworkOptions options;

 private:
  void forget_closed();

  std::array<bool, kWays> cut_{};
  std::array<std::uint64_t, kWays> cuts_{};  // counts
  std::vector<std::weak_ptr<Connection>> connections_;
};

// One end of a TCP connection, as its process sees it.
class End final : public wire::Link {
 public:
  End(Connection& connection, Host& host, int side)
      : connection_(connection), host_(host), side_(side), last_heard_(host.clock.now()) {}

  void send(wire::Message message) override;
  std::size_t queued_bytes() const override;
  TimePoint last_heard() const override { return last_heard_; }
  // Never waits.
  Event wait(TimePoint deadline) override;
  void wake() override {}
  bool has_event() const { return !paused && (!inbox_.empty() || (closed_ && !closed_told_)); }

  // The process that has it does not run: nothing is read, nothing sent.
  void set_paused(bool value);

  std::function<void()> on_arrival;

 private:
  friend class Connection;
  void hear();

  Connection& connection_;
  Host& host_;
  const int side_;
  bool paused = false;
  bool alive_ = true;  // a process has it
  bool unread_ = false;
  TimePoint last_heard_;
  std::deque<wire::Message> inbox_;
  std::optional<std::string> closed_;
  bool closed_told_ = false;
};

// TCP: in order, or broken. A process that ends closes it, if its kernel lives; what it had queued
// may then be lost from some message on. A host that loses its power says nothing, and resets it
// when it is asked after it is back.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Network& network, Host& first, Host& second, Way way)
      : network_(network), way_(way), ends_{{{*this, first, 0}, {*this, second, 1}}} {}

  End& end(int side) { return ends_[static_cast<std::size_t>(side)]; }

  // The process of this side is gone. orderly: after all it had queued.
  void close(int side, bool orderly, const std::string& why = "the other side closed it");
  void reset();
  void lose_host(const Host& host);
  // The way may be open again.
  void pump();
  // This side hears nothing more, and is told so by its own kernel (or ssh).
  void give_up(int side, const std::string& why);

  // All that is under way arrives now, unless the way is cut.
  void rush();
  bool chance(double share) { return network_.random.chance(share); }

  void start_heartbeats(Duration interval);
  Way way() const { return way_; }

 private:
  friend class End;
  struct Item {
    TimePoint due;
    std::optional<wire::Message> message;  // nothing: the end
    std::string why;
  };
  struct Direction {
    std::deque<Item> items;
    TimePoint free_at{}, last_due{};
    bool beat_waits = false, ended = false;
  };
  Direction& from(int side) { return directions_[static_cast<std::size_t>(side)]; }
  void queue(int side, std::optional<wire::Message> message, std::size_t bytes,
             const std::string& why);
  void pump(int side);
  void beat(int side, Duration interval);
  void hear_beat(int side);
  bool is_open(int receiver) const;
  void keep_some(int side);

  Network& network_;
  const Way way_;
  std::array<End, 2> ends_;
  std::array<Direction, 2> directions_;
};

}  // namespace specrep::sim
