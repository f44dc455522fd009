// What came for a guest while it was moved: how it is sent after it, and what is refused.
#include "libspecrep/output/input_hold.h"

#include <boost/test/unit_test.hpp>
#include <deque>

namespace specrep::output {

using namespace std::chrono_literals;
namespace {

BOOST_AUTO_TEST_SUITE(output_input_hold)

// Says what it was told to, one message at each wait, then nothing; keeps what is sent.
class FakeLink final : public wire::Link {
 public:
  explicit FakeLink(ManualClock& clock) : clock_(clock) {}
  void send(wire::Message message) override {
    wire::encode_head(message);
    sent.push_back(std::move(message));
  }
  std::size_t queued_bytes() const override { return 0; }
  TimePoint last_heard() const override { return clock_.now(); }
  Event wait(TimePoint deadline) override {
    Event event;
    if (!events.empty()) {
      event = std::move(events.front());
      events.pop_front();
    } else {
      clock_.advance(deadline - clock_.now());
    }
    return event;
  }
  void wake() override {}

  std::deque<Event> events;
  std::vector<wire::Message> sent;

 private:
  ManualClock& clock_;
};

std::vector<std::byte> frame(std::size_t bytes, int fill) {
  return std::vector<std::byte>(bytes, static_cast<std::byte>(fill));
}

struct Delivered {
  std::uint32_t card;
  bool is_emulated;
  std::vector<std::byte> frame;
  bool operator==(const Delivered&) const = default;
};

std::vector<Delivered> receive(std::vector<wire::Message> messages, bool closes = false) {
  ManualClock clock;
  FakeLink link(clock);
  for (wire::Message& message : messages) link.events.push_back({std::move(message), {}});
  if (closes) link.events.push_back({{}, "gone"});
  std::vector<Delivered> delivered;
  const std::size_t count = receive_input(
      link, clock, [&](std::uint32_t card, bool is_emulated, std::span<const std::byte> bytes) {
        delivered.push_back({card, is_emulated, {bytes.begin(), bytes.end()}});
      });
  BOOST_TEST(count == delivered.size());
  BOOST_REQUIRE_EQUAL(link.sent.size(), 1u);
  BOOST_TEST(link.sent[0].envelope.has_input_wanted());
  return delivered;
}

// A primary that holds these when it is asked, and those come a moment later.
std::vector<wire::Message> sent_of(const std::vector<Delivered>& first,
                                   const std::vector<Delivered>& second,
                                   std::deque<wire::Link::Event> events) {
  ManualClock clock;
  FakeLink link(clock);
  link.events = std::move(events);
  std::deque<std::vector<Delivered>> held{first, {}, second};
  send_input(
      link,
      [&](const InputSink& sink) {
        if (held.empty()) return;
        for (const Delivered& frame : held.front())
          sink({"vif1.0", 0, frame.card, {}, frame.is_emulated}, frame.frame);
        held.pop_front();
      },
      clock.now(), clock);
  return std::move(link.sent);
}

std::deque<wire::Link::Event> asking() {
  wire::Message wanted;
  wanted.envelope.mutable_input_wanted();
  std::deque<wire::Link::Event> events;
  events.push_back({});  // woken for nothing
  events.push_back({std::move(wanted), {}});
  return events;
}

BOOST_AUTO_TEST_CASE(frames_arrive_in_order_each_for_its_card) {
  std::vector<Delivered> first, second{{1, false, frame(60, 7)}};
  for (int i = 0; i < 3000; ++i) first.push_back({0, false, frame(14 + i % 1500, i)});
  first.push_back({0, true, frame(1514, 1)});
  first.push_back({1, true, frame(65536, 2)});
  auto messages = sent_of(first, second, asking());
  for (const wire::Message& message : messages) {
    BOOST_TEST(message.envelope.input().frame_bytes_size() <= 1024);
    BOOST_TEST(message.payload.size() <= 256u * 1024);
    BOOST_TEST(message.envelope.input().last() == (&message == &messages.back()));
  }
  first.insert(first.end(), second.begin(), second.end());
  BOOST_TEST((receive(std::move(messages)) == first));
}

BOOST_AUTO_TEST_CASE(nothing_held_is_said_so) {
  auto messages = sent_of({}, {}, asking());
  BOOST_TEST(messages.back().envelope.input().last());
  BOOST_TEST(receive(std::move(messages)).empty());
}

BOOST_AUTO_TEST_CASE(frames_that_do_not_end_are_not_sent_for_ever) {
  ManualClock clock;
  FakeLink link(clock);
  link.events = asking();
  const TimePoint asked = clock.now();
  std::vector<TimePoint> taken;
  send_input(
      link,
      [&](const InputSink& sink) {
        taken.push_back(clock.now());
        sink({"vif1.0", 0, 0, {}, false}, frame(60, 1));
      },
      clock.now(), clock);
  BOOST_TEST(taken.size() > 50u);
  BOOST_TEST(milliseconds(taken.back() - asked) == 2000);
  BOOST_TEST(link.sent.back().envelope.input().last());
}

BOOST_AUTO_TEST_CASE(what_came_in_seconds_is_not_sent_at_once) {
  ManualClock clock;
  FakeLink link(clock);
  link.events = asking();
  const TimePoint asked = clock.now();
  std::vector<std::pair<Duration, int>> sent;  // by when, how many
  int left = 200, now = 0;
  send_input(
      link,
      [&](const InputSink& sink) {
        int frames = 0;
        for (const auto& message : link.sent) frames += message.envelope.input().frame_bytes_size();
        sent.push_back({clock.now() - asked, frames});
        // Those that come meanwhile do not overtake.
        if (left == 0 && ++now <= 3) sink({"vif1.0", 0, 0, {}, false}, frame(60, 1));
        for (; left > 0; --left) sink({"vif1.0", 0, 0, {}, false}, frame(60, left));
      },
      asked - 2s, clock);
  for (const auto& [when, frames] : sent) BOOST_TEST(frames <= 203 * (when / 1ms + 20) / 1000);
  int frames = 0;
  for (const auto& message : link.sent) {
    frames += message.envelope.input().frame_bytes_size();
    BOOST_TEST(message.envelope.input().frame_bytes_size() <= 5);
  }
  BOOST_TEST(frames == 203);
  BOOST_TEST(link.sent.back().envelope.input().last());
  BOOST_TEST(link.sent.back().payload.empty());
}

BOOST_AUTO_TEST_CASE(nothing_is_sent_to_a_backup_that_does_not_ask) {
  BOOST_TEST(sent_of({{0, false, frame(60, 1)}}, {}, {}).empty());
  std::deque<wire::Link::Event> gone;
  gone.push_back({{}, "gone"});
  BOOST_TEST(sent_of({{0, false, frame(60, 1)}}, {}, std::move(gone)).empty());
  std::deque<wire::Link::Event> failed;
  failed.push_back({wire::failure(Error("broken")), {}});
  BOOST_CHECK_THROW(sent_of({}, {}, std::move(failed)), Error);
}

BOOST_AUTO_TEST_CASE(a_link_that_is_lost_leaves_what_came) {
  auto messages = sent_of({{0, false, frame(60, 1)}}, {}, asking());
  messages.pop_back();
  BOOST_TEST(receive(messages, true).size() == 1u);
  BOOST_TEST(receive(messages).size() == 1u);  // or a primary that says no more
}

BOOST_AUTO_TEST_CASE(what_does_not_hold_together_is_refused) {
  struct {
    const char* what;
    std::vector<std::uint32_t> frame_bytes;
    std::size_t payload_bytes;
  } const cases[] = {
      {"a frame without a header", {13}, 13},    {"a frame that is too long", {65537}, 65537},
      {"more frames than bytes", {60, 60}, 119}, {"a length that wraps", {60, 0xffffffff}, 120},
      {"more bytes than frames", {60}, 61},      {"bytes without frames", {}, 1},
  };
  for (const auto& c : cases) {
    BOOST_TEST_CONTEXT(c.what) {
      wire::Message message;
      for (const std::uint32_t bytes : c.frame_bytes)
        message.envelope.mutable_input()->add_frame_bytes(bytes);
      message.envelope.mutable_input();
      message.payload.resize(c.payload_bytes);
      BOOST_CHECK_THROW(receive({message}), wire::ProtocolError);
    }
  }
  BOOST_CHECK_THROW(receive({wire::hello()}), wire::ProtocolError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep::output
