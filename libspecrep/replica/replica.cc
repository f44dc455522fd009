#include "libspecrep/replica/replica.h"

#include <utility>

namespace specrep::replica {

namespace {

// More than PrimaryEngine::kEpochsInFlightMax.
constexpr std::size_t kPendingMax = 8;

std::vector<guest::CardAddress> addresses_of(const wire::Checkpoint& header) {
  if (header.addresses_size() > static_cast<int>(guest::kCardAddressesMax))
    throw wire::ProtocolError("the primary sent " + std::to_string(header.addresses_size()) +
                              " addresses of the guest");
  std::vector<guest::CardAddress> addresses;
  for (const wire::CardAddress& sent : header.addresses()) {
    guest::CardAddress address;
    if (sent.mac().size() != address.mac.size() ||
        (sent.address().size() != 4 && sent.address().size() != 16))
      throw wire::ProtocolError("the primary sent an address of the guest of the wrong size");
    std::copy(sent.mac().begin(), sent.mac().end(), address.mac.begin());
    address.is_ipv6 = sent.address().size() == 16;
    std::copy(sent.address().begin(), sent.address().end(), address.ip.begin());
    address.is_router = sent.router();
    addresses.push_back(address);
  }
  return addresses;
}

}  // namespace

Replica::Replica(wire::Link& link, Restorer& restorer, DiskCopies& disks, const Clock& clock,
                 ReplicaOptions options)
    : link_(link),
      restorer_(restorer),
      disks_(disks),
      clock_(clock),
      options_(std::move(options)) {}

TimePoint Replica::step() {
  const TimePoint now = clock_.now();
  if (decided()) return now;
  if (state_ != State::kLost) {
    try {
      commit_what_is_here();
    } catch (const Error& error) {
      link_.send(wire::failure(error));
      throw;
    }
  }
  if (state_ == State::kLost) {
    if (now >= lost_deadline_) decide(State::kActivate, reason_);
    return lost_deadline_;
  }
  const TimePoint deadline = link_.last_heard() + options_.heartbeat_timeout;
  if (now > deadline) {
    lose("nothing heard from the primary for " +
             std::to_string(static_cast<long>(milliseconds(now - link_.last_heard()))) + " ms",
         false);
    return now;
  }
  return deadline + std::chrono::milliseconds(1);
}

void Replica::handle(wire::Link::Event event) {
  if (decided() || state_ == State::kLost) return;
  if (event.closed) {
    lose("the link to the primary closed: " + *event.closed, true);
    return;
  }
  if (!event.message) return;
  try {
    dispatch(std::move(*event.message));
  } catch (const Error& error) {
    link_.send(wire::failure(error));
    throw;
  }
}

void Replica::dispatch(wire::Message message) {
  switch (message.envelope.body_case()) {
    case wire::Envelope::kStart:
      return start(std::move(message));
    case wire::Envelope::kPages:
      return pages(std::move(message));
    case wire::Envelope::kCheckpoint:
      return checkpoint(std::move(message));
    case wire::Envelope::kDigests:
      if (pending_.empty()) return digests(message);
      pending_.back().digests_bytes +=
          sizeof message + message.envelope.SpaceUsedLong() + message.payload.size();
      pending_.back().digests.push_back(std::move(message));
      return check_staging();
    case wire::Envelope::kStop: {
      wire::Message stopped;
      stopped.envelope.mutable_stopped();
      decide(State::kDiscard, message.envelope.stop().reason());
      link_.send(std::move(stopped));
      return;
    }
    case wire::Envelope::kHandOver:
      return hand_over(message.envelope.hand_over().epoch());
    case wire::Envelope::kFailure:
      decide(State::kDiscard, wire::to_error(message.envelope.failure(), "the primary").what());
      return;
    default:
      throw wire::ProtocolError("the primary sent a message that only a backup may send");
  }
}

void Replica::stand_down(const std::string& reason) {
  if (state_ != State::kActivate) decide(State::kDiscard, reason);
}

void Replica::hand_over(Epoch epoch) {
  if (state_ != State::kProtecting || epoch != committed_ || received_ != committed_ ||
      versions_received_ != 0)
    throw wire::ProtocolError("the primary handed the guest over as of epoch " +
                              std::to_string(epoch) + ", which is not all that there is");
  detected_ = clock_.now();
  handed_over_ = true;
  decide(State::kActivate, "the primary handed the guest over");
}

void Replica::lose(const std::string& reason, bool closed) {
  detected_ = clock_.now();
  // The stage is dropped first: from here on only committed pages exist.
  stage_.clear();
  pending_.clear();
  if (committed_ == 0) return decide(State::kDiscard, reason + ", before anything was committed");
  if (!closed) return decide(State::kActivate, reason);
  reason_ = reason;
  lost_deadline_ = link_.last_heard() + options_.heartbeat_timeout;
  state_ = State::kLost;
}

void Replica::decide(State state, const std::string& reason) {
  state_ = state;
  reason_ = reason;
  stage_.clear();
  pending_.clear();
  // A primary that only was silent would take the heartbeats that go on for a backup that is at
  // work, and wait for its Commit for ever.
  if (state == State::kActivate && !handed_over_)
    link_.send(
        wire::failure(Error("it takes the guest over: " + reason,
                            "the guest runs there unless the log of this end says otherwise")));
}

void Replica::start(wire::Message message) {
  if (state_ != State::kWaiting) throw wire::ProtocolError("the primary sent Start twice");
  start_ = message.envelope.start();
  if (start_->guest_name() != options_.guest_name || start_->guest_uuid() != options_.guest_uuid)
    throw wire::ProtocolError("the primary sent another guest than the one that was agreed upon");
  // Xen's own limit on guest frames (physical addresses of 52 bits).
  constexpr Gfn kGfnCountMax = Gfn{1} << 40;
  if (start_->gfn_count() == 0 || start_->gfn_count() > kGfnCountMax)
    throw wire::ProtocolError("the primary named an impossible number of guest frames");
  const std::uint64_t cache_bytes = std::uint64_t{start_->cache_pages()} * kPageBytes;
  if (cache_bytes > options_.delta_cache_bytes_max)
    throw Error("the primary wants this host to keep " + std::to_string(cache_bytes >> 20) +
                    " MiB of pages as they were last sent; at most " +
                    std::to_string(options_.delta_cache_bytes_max >> 20) + " MiB are allowed",
                "give `xl remus-spec` a smaller --delta-cache");
  decoder_.emplace(start_->gfn_count(), start_->cache_pages());
  restorer_.begin(*start_, std::move(message.payload));
  state_ = State::kCopying;
  link_.send([] {
    wire::Message started;
    started.envelope.mutable_started();
    return started;
  }());
}

void Replica::pages(wire::Message message) {
  if (state_ != State::kCopying && state_ != State::kProtecting)
    throw wire::ProtocolError("the primary sent Pages before Start");
  const Epoch epoch = message.envelope.pages().epoch();
  if (epoch == 0) {
    if (received_ != 0)
      throw wire::ProtocolError("the primary sent pages of the first copy after a checkpoint");
    return restorer_.load(std::move(message), start_->gfn_count());
  }
  if (epoch != received_ + 1) {
    throw wire::ProtocolError("the primary sent pages of epoch " + std::to_string(epoch) +
                              " while epoch " + std::to_string(received_ + 1) + " is open");
  }
  versions_received_ +=
      decoder_->decode(message, [this](Gfn gfn, const std::byte* page) { stage_.put(gfn, page); });
  check_staging();
}

void Replica::check_staging() const {
  std::size_t bytes = stage_.bytes();
  for (const Pending& pending : pending_) bytes += pending.epoch.bytes() + pending.digests_bytes;
  if (bytes > options_.staging_bytes_max)
    throw Error("the backup's memory for staged pages (" +
                    std::to_string(options_.staging_bytes_max >> 20) + " MiB) is full",
                "shorten the epoch (-i), or give the backup's dom0 more memory");
}

void Replica::checkpoint(wire::Message message) {
  if (state_ != State::kCopying && state_ != State::kProtecting)
    throw wire::ProtocolError("the primary sent a Checkpoint before Start");
  const wire::Checkpoint& header = message.envelope.checkpoint();
  if (header.epoch() != received_ + 1)
    throw wire::ProtocolError("the primary closed epoch " + std::to_string(header.epoch()) +
                              " while epoch " + std::to_string(received_ + 1) + " is open");
  if (static_cast<std::size_t>(header.disk_marks_size()) != disks_.count())
    throw wire::ProtocolError("epoch " + std::to_string(header.epoch()) + " came with " +
                              std::to_string(header.disk_marks_size()) + " disks instead of " +
                              std::to_string(disks_.count()));
  // A primary waits for its commits.
  if (pending_.size() >= kPendingMax)
    throw wire::ProtocolError("the primary does not wait until its epochs are committed");
  if (header.pages() != versions_received_)
    throw wire::ProtocolError("epoch " + std::to_string(header.epoch()) + " came with " +
                              std::to_string(versions_received_) + " pages instead of " +
                              std::to_string(header.pages()));
  const std::uint64_t hypervisor = header.hypervisor_bytes();
  const std::uint64_t device_model = header.device_model_bytes();
  const std::uint64_t store = header.device_model_store_bytes();
  if (hypervisor + device_model + store != message.payload.size() || hypervisor == 0)
    throw wire::ProtocolError("epoch " + std::to_string(header.epoch()) +
                              " came with a state of the wrong size");

  Pending pending;
  CommittedEpoch& epoch = pending.epoch;
  epoch.epoch = header.epoch();
  const auto at = [&](std::uint64_t offset) {
    return message.payload.begin() + static_cast<std::ptrdiff_t>(offset);
  };
  epoch.state.hypervisor.assign(at(0), at(hypervisor));
  epoch.state.device_model.assign(at(hypervisor), at(hypervisor + device_model));
  epoch.state.device_model_store.assign(at(hypervisor + device_model), message.payload.end());
  epoch.state.addresses = addresses_of(header);
  epoch.pages = std::exchange(stage_, Stage{});
  pending.disk_marks.assign(header.disk_marks().begin(), header.disk_marks().end());
  versions_received_ = 0;
  received_ = epoch.epoch;
  pending_.push_back(std::move(pending));
  check_staging();
  commit_what_is_here();
}

void Replica::commit_what_is_here() {
  while (!pending_.empty() && disks_.hold(pending_.front().disk_marks)) {
    Pending pending = std::move(pending_.front());
    pending_.pop_front();
    disks_.commit(pending.disk_marks);
    committed_ = pending.epoch.epoch;
    committed_pages_ = pending.epoch.pages.pages();
    state_ = State::kProtecting;

    // From here on the epoch survives the primary: it waits in memory until it is loaded, and an
    // activation loads all that waits first.
    wire::Message answer;
    wire::Commit& commit = *answer.envelope.mutable_commit();
    commit.set_epoch(committed_);
    commit.set_staged_pages(committed_pages_);
    commit.set_queued_epochs(restorer_.queued_epochs());
    wire::answer(link_, std::move(answer));
    restorer_.apply(std::move(pending.epoch));
    for (const wire::Message& message : pending.digests) digests(message);
  }
}

void Replica::digests(const wire::Message& message) {
  if (state_ != State::kProtecting)
    throw wire::ProtocolError("the primary sent Digests before a checkpoint");
  const wire::DigestsView view(message, start_->gfn_count());
  if (view.epoch != committed_)
    throw wire::ProtocolError("the primary sent digests of an epoch that is not the newest");
  const Comparison part = restorer_.compare(view);
  comparison_.pages_compared += part.pages_compared;
  comparison_.pages_different += part.pages_different;
  for (const Gfn gfn : part.first_different) {
    if (comparison_.first_different.size() < kFirstDifferentMax)
      comparison_.first_different.push_back(gfn);
  }
  if (!view.last) return;
  wire::Message answer;
  wire::Verified& verified = *answer.envelope.mutable_verified();
  verified.set_epoch(view.epoch);
  verified.set_pages_compared(comparison_.pages_compared);
  verified.set_pages_different(comparison_.pages_different);
  for (const Gfn gfn : comparison_.first_different) verified.add_first_different_gfns(gfn);
  comparison_ = {};
  wire::answer(link_, std::move(answer));
}

const char* to_string(Replica::State state) {
  switch (state) {
    case Replica::State::kWaiting:
      return "waiting";
    case Replica::State::kCopying:
      return "first-copy";
    case Replica::State::kProtecting:
      return "protected";
    case Replica::State::kLost:
      return "primary-lost";
    case Replica::State::kActivate:
      return "activating";
    case Replica::State::kDiscard:
      return "discarding";
  }
  return "unknown";
}

}  // namespace specrep::replica
