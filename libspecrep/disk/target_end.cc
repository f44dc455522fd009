#include <algorithm>

#include "libspecrep/disk/disk_link.h"
#include "libspecrep/error.h"
#include "libspecrep/wire/message.h"

namespace specrep::disk {

namespace {

// The link says by itself when it closes; whether the primary lives is the memory link's business.
constexpr auto kLook = std::chrono::seconds(1);

}  // namespace

TargetEnd::TargetEnd(Backing& backing, wire::Link& link, const Identity& identity,
                     std::size_t staging_bytes_max, std::function<void()> changed)
    : backing_(backing),
      link_(link),
      identity_(identity),
      changed_(std::move(changed)),
      target_(backing, staging_bytes_max, [this] {
        link_.wake();  // durable() has grown: run() tells the primary
        changed_();
      }) {}

void TargetEnd::run() {
  try {
    for (;;) {
      auto event = link_.wait(std::chrono::steady_clock::now() + kLook);
      if (event.closed) return;
      if (event.message) dispatch(std::move(*event.message));
      report();
    }
  } catch (const Error& error) {
    {
      const std::lock_guard lock(mutex_);
      failure_ = error.what();
    }
    link_.send(wire::failure(error));
    changed_();
  }
}

void TargetEnd::greet(const wire::Message& message) {
  if (!message.envelope.has_disk_hello())
    throw wire::ProtocolError("the primary does not say which disk its link is of");
  const wire::DiskHello& hello = message.envelope.disk_hello();
  if (hello.uuid().size() != identity_.uuid.size() ||
      !std::equal(identity_.uuid.begin(), identity_.uuid.end(), hello.uuid().begin(),
                  [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); }))
    throw wire::ProtocolError("the primary's disk is not the one that is kept here");
  if (hello.size_bytes() != backing_.size_bytes())
    throw Error("the disk has " + std::to_string(hello.size_bytes()) +
                    " bytes at the primary and " + std::to_string(backing_.size_bytes()) + " here",
                "make both equally large");
  greeted_ = true;
  wire::Message ready;
  ready.envelope.mutable_disk_ready();
  link_.send(std::move(ready));
}

void TargetEnd::dispatch(wire::Message message) {
  const std::lock_guard lock(mutex_);
  if (!greeted_) return greet(message);
  if (message.envelope.has_failure())
    throw wire::to_error(message.envelope.failure(), "the primary");
  if (!message.envelope.has_disk_write())
    throw wire::ProtocolError("the primary sent a message that has no place on a disk's link");
  const wire::DiskWrite& header = message.envelope.disk_write();
  target_.receive(
      {header.number(), {header.offset(), header.length()}, std::move(message.payload)});
}

void TargetEnd::report() {
  {
    const std::lock_guard lock(mutex_);
    const std::uint64_t held = target_.held(), durable = target_.durable();
    if (held == told_held_ && durable == told_durable_) return;
    told_held_ = held;
    told_durable_ = durable;
  }
  wire::Message message;
  message.envelope.mutable_disk_held()->set_held(told_held_);
  message.envelope.mutable_disk_held()->set_durable(told_durable_);
  link_.send(std::move(message));
  changed_();
}

std::uint64_t TargetEnd::held() const {
  const std::lock_guard lock(mutex_);
  return target_.held();
}

std::optional<std::string> TargetEnd::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void TargetEnd::commit(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  target_.commit(number);
}

std::uint64_t TargetEnd::activate() {
  const std::lock_guard lock(mutex_);
  return target_.activate();
}

void TargetEnd::settle() {
  const std::lock_guard lock(mutex_);
  target_.settle();
}

}  // namespace specrep::disk
