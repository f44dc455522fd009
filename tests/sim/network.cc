#include "network.h"

#include <algorithm>

namespace specrep::sim {

using namespace std::chrono_literals;

namespace {

// ssh notices a silent network after ServerAliveInterval times ServerAliveCountMax.
constexpr Duration kSshSilenceMax = 15s;

}  // namespace

void Network::set_cut(Way way, bool cut) {
  const auto index = static_cast<std::size_t>(way);
  if (cut_[index] == cut) return;
  cut_[index] = cut;
  const std::uint64_t number = ++cuts_[index];
  if (!cut) return host_is_back();
  if (way != Way::kControl) return;
  scheduler.after(kSshSilenceMax, [this, index, number] {
    if (cuts_[index] != number) return;
    for (const auto& weak : std::vector(connections_))
      if (const auto connection = weak.lock(); connection && connection->way() == Way::kControl)
        connection->give_up(0, "status 255");
  });
}

std::shared_ptr<Connection> Network::connect(Host& first, Host& second, Way way,
                                             Duration heartbeat) {
  forget_closed();
  auto connection = std::make_shared<Connection>(*this, first, second, way);
  connections_.push_back(connection);
  if (heartbeat != Duration::zero()) connection->start_heartbeats(heartbeat);
  return connection;
}

void Network::host_lost(const Host& host) {
  for (const auto& weak : std::vector(connections_))
    if (const auto connection = weak.lock()) connection->lose_host(host);
}

void Network::host_is_back() {
  for (const auto& weak : std::vector(connections_))
    if (const auto connection = weak.lock()) connection->pump();
}

void Network::reset(Way way) {
  for (const auto& weak : std::vector(connections_))
    if (const auto connection = weak.lock(); connection && connection->way() == way)
      connection->reset();
}

void Network::forget_closed() {
  std::erase_if(connections_, [](const auto& weak) { return weak.expired(); });
}

void End::send(wire::Message message) {
  if (!alive_ || closed_) return;
  // Through bytes and back, as on a real link.
  std::vector<std::byte> bytes = wire::encode_head(message);
  bytes.insert(bytes.end(), message.payload.begin(), message.payload.end());
  std::vector<wire::Message> decoded;
  wire::Decoder decoder;
  decoder.feed(bytes, decoded);
  connection_.queue(side_, std::move(decoded.at(0)), bytes.size(), "");
}

std::size_t End::queued_bytes() const {
  const TimePoint free_at = connection_.from(side_).free_at;
  const TimePoint now = connection_.network_.scheduler.now();
  if (free_at <= now) return 0;
  return static_cast<std::size_t>(std::chrono::duration<double>(free_at - now).count() *
                                  connection_.network_.options.bytes_per_s);
}

wire::Link::Event End::wait(TimePoint) {
  Event event;
  if (!inbox_.empty()) {
    event.message = std::move(inbox_.front());
    inbox_.pop_front();
  } else if (closed_ && !closed_told_) {
    event.closed = closed_;
    closed_told_ = true;
  }
  return event;
}

void End::set_paused(bool value) {
  paused = value;
  if (!paused && std::exchange(unread_, false)) last_heard_ = host_.clock.now();
}

void End::hear() {
  if (paused)
    unread_ = true;
  else
    last_heard_ = host_.clock.now();
}

void Connection::queue(int side, std::optional<wire::Message> message, std::size_t bytes,
                       const std::string& why) {
  Direction& direction = from(side);
  if (direction.ended) return;
  direction.ended = !message;
  const TimePoint now = network_.scheduler.now();
  direction.free_at = std::max(now, direction.free_at) +
                      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
                          static_cast<double>(bytes) / network_.options.bytes_per_s));
  const Duration way =
      network_.options.latency + network_.random.between(Duration::zero(), network_.options.jitter);
  direction.last_due = std::max(direction.last_due, direction.free_at + way);
  direction.items.push_back({direction.last_due, std::move(message), why});
  network_.scheduler.at(direction.last_due,
                        [self = shared_from_this(), side] { self->pump(side); });
}

bool Connection::is_open(int receiver) const {
  return !network_.is_cut(way_) && ends_[static_cast<std::size_t>(receiver)].host_.powered;
}

void Connection::pump() {
  for (const int side : {0, 1}) {
    if (from(side).beat_waits) hear_beat(1 - side);
    pump(side);
  }
}

void Connection::pump(int side) {
  Direction& direction = from(side);
  End& receiver = end(1 - side);
  bool arrived = false;
  while (!direction.items.empty() && direction.items.front().due <= network_.scheduler.now() &&
         is_open(1 - side)) {
    Item item = std::move(direction.items.front());
    direction.items.pop_front();
    if (!receiver.alive_) {
      // Its kernel does not know the connection any more.
      if (item.message) queue(1 - side, std::nullopt, 0, "reset by peer");
      continue;
    }
    if (receiver.closed_) continue;
    if (item.message) {
      receiver.inbox_.push_back(std::move(*item.message));
      receiver.hear();
    } else {
      receiver.closed_ = item.why;
    }
    arrived = true;
  }
  if (arrived && receiver.on_arrival) receiver.on_arrival();
}

void Connection::keep_some(int side) {
  if (from(side).ended) return;
  auto& items = from(side).items;
  const std::size_t kept = network_.random.below(items.size() + 1);
  items.erase(items.begin() + static_cast<std::ptrdiff_t>(kept), items.end());
}

void Connection::close(int side, bool orderly, const std::string& why) {
  if (!end(side).alive_) return;
  end(side).alive_ = false;
  end(side).on_arrival = {};
  if (!orderly) keep_some(side);
  queue(side, std::nullopt, 0, why);
}

void Connection::reset() {
  for (const int side : {0, 1}) {
    keep_some(side);
    queue(side, std::nullopt, 0, "connection reset");
  }
}

void Connection::rush() {
  bool moved = true;
  while (moved) {
    moved = false;
    for (const int side : {0, 1}) {
      if (!is_open(1 - side)) continue;
      for (Item& item : from(side).items) {
        item.due = network_.scheduler.now();
        moved = true;
      }
      pump(side);
    }
  }
}

void Connection::give_up(int side, const std::string& why) {
  End& here = end(side);
  if (!here.alive_ || here.closed_) return;
  here.closed_ = why;
  from(side).ended = true;
  if (here.on_arrival) here.on_arrival();
}

void Connection::lose_host(const Host& host) {
  for (const int side : {0, 1}) {
    if (&end(side).host_ != &host || !end(side).alive_) continue;
    end(side).alive_ = false;
    end(side).on_arrival = {};
    from(side).beat_waits = false;
    keep_some(side);
    from(side).ended = false;  // what it says when it is back: a reset
  }
}

void Connection::start_heartbeats(Duration interval) {
  for (const int side : {0, 1}) beat(side, interval);
}

void Connection::beat(int side, Duration interval) {
  End& here = end(side);
  if (!here.alive_ || here.closed_) return;
  if (!here.paused)
    network_.scheduler.after(network_.options.latency,
                             [self = shared_from_this(), side] { self->hear_beat(1 - side); });
  network_.scheduler.after(
      here.host_.true_duration(interval),
      [self = shared_from_this(), side, interval] { self->beat(side, interval); });
}

void Connection::hear_beat(int side) {
  from(1 - side).beat_waits = !is_open(side);
  if (from(1 - side).beat_waits) return;
  End& here = end(side);
  if (!here.alive_)
    queue(side, std::nullopt, 0, "reset by peer");
  else if (!here.closed_)
    here.hear();
}

}  // namespace specrep::sim
