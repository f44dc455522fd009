#include "libspecrep/epoch/primary_engine.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "libspecrep/wire/digests.h"

namespace specrep::epoch {

using namespace std::chrono_literals;

namespace {

// Bulk data queued on the link at most while memory is first copied: enough to keep a 10 Gbit/s
// link busy between two looks (8 MiB = 7 ms), little enough to be no burden.
constexpr std::size_t kQueuedBytesMax = 8 * 1024 * 1024;
// How often a full link is looked at again.
constexpr Duration kLinkPoll = 2ms;
// The first copy ends, and the first checkpoint is taken, when a round leaves fewer dirty pages
// than this (a 4 MiB residual stops the guest for about as long as the suspend itself), or
// after this many rounds: a guest that dirties faster than the link carries will not converge.
constexpr std::uint64_t kFirstCopyDirtyPagesMax = 1024;
constexpr unsigned kFirstCopyRoundsMax = 5;
// Pages read at a time where all memory is read.
constexpr std::size_t kChunkPages = 1024;
// Pages sent at a time at least, and so much the most that is queued too many.
constexpr std::size_t kPartPagesMin = 16;
// How long the backup may take to confirm that it discarded its copy.
constexpr Duration kStopTimeout = 5s;
// How long a hand-over may wait for the commits before the last, and then the guest, which stands
// still, for the last; then it runs on here.
constexpr Duration kLastCommitTimeout = 5s;
// How long the backup may take until its copy is complete and it says that it takes the guest over.
constexpr Duration kHandOverTimeout = 20s;
// How often it is looked how full the output buffer is, and what the disks wrote. At 10 Gbit/s 25
// MB come in between.
constexpr Duration kFillPoll = 20ms;
// How often it is looked whether the disks have been copied.
constexpr Duration kDisksPoll = 100ms;

}  // namespace

PrimaryEngine::PrimaryEngine(guest::Guest& guest, wire::Link& link, output::OutputBuffer& output,
                             disk::EpochDisks& disks, const Clock& clock, PrimaryOptions options,
                             PrimaryObserver& observer)
    : guest_(guest),
      link_(link),
      output_(output),
      disks_(disks),
      clock_(clock),
      options_(std::move(options)),
      observer_(observer),
      first_copy_encoder_(0, options_.compress),
      encoder_(options_.delta_cache_pages, options_.compress),
      epoch_length_(options_.epoch),
      costs_(guest.write_fault()),
      policy_(model::make_policy(options_.policy, guest.gfn_count(), options_.oracle)) {
  const Gfn gfn_count = guest_.gfn_count();
  present_.resize(gfn_count);
  sampled_.resize(gfn_count);
  is_unsent_.resize(gfn_count);
}

PrimaryEngine::~PrimaryEngine() {
  if (logging_dirty_) guest_.stop_dirty_log();
}

TimePoint PrimaryEngine::step() {
  try {
    return advance();
  } catch (...) {
    let_run();
    throw;
  }
}

TimePoint PrimaryEngine::advance() {
  const TimePoint now = clock_.now();
  if (phase_ == Phase::kStopping) {
    if (now >= deadline_) phase_ = Phase::kEnded;
    return deadline_;
  }
  if (const Duration silence = now - link_.last_heard(); silence > options_.heartbeat_timeout)
    throw BackupLost("the backup has not been heard of for " +
                     std::to_string(static_cast<long>(milliseconds(silence))) + " ms");
  TimePoint next = now;
  try {
    switch (phase_) {
      case Phase::kStart:
        begin();
        break;
      case Phase::kFirstCopy:
        next = step_first_copy();
        break;
      case Phase::kEpochs:
        next = step_epoch();
        break;
      case Phase::kLastCommit:
        if (now >= deadline_) {
          let_run();
          schedule_epoch();
          observer_.on_hand_over_failed(
              Error("the backup did not commit the last checkpoint within 5 s", "try again later"));
        }
        next = deadline_;
        break;
      case Phase::kHandOver:
        if (now >= deadline_)
          throw BackupLost("the backup did not say within 20 s that it takes the guest over");
        next = deadline_;
        break;
      case Phase::kStopping:
      case Phase::kEnded:
        break;
    }
  } catch (const guest::Ended& ended) {
    guest_ended_ = ended.what();
    stop_protocol(ended.what());
    return deadline_;
  }
  // Never past the moment at which the backup would count as lost.
  return std::min(next, link_.last_heard() + options_.heartbeat_timeout + 1ms);
}

void PrimaryEngine::handle(const wire::Link::Event& event) {
  try {
    take(event);
  } catch (...) {
    let_run();
    throw;
  }
}

void PrimaryEngine::take(const wire::Link::Event& event) {
  if (event.closed) {
    if (phase_ == Phase::kStopping) {
      phase_ = Phase::kEnded;
      return;
    }
    throw BackupLost("the link to the backup closed: " + *event.closed);
  }
  if (!event.message) return;
  const wire::Envelope& envelope = event.message->envelope;
  switch (envelope.body_case()) {
    case wire::Envelope::kStarted:
      break;
    case wire::Envelope::kCommit:
      commit(envelope.commit());
      break;
    case wire::Envelope::kVerified:
      verified(envelope.verified());
      break;
    case wire::Envelope::kStopped:
      if (phase_ == Phase::kStopping) {
        phase_ = Phase::kEnded;
        stop_confirmed_ = true;
      }
      break;
    case wire::Envelope::kOutcome:
      answer_to_hand_over(envelope.outcome());
      break;
    case wire::Envelope::kFailure:
      throw wire::to_error(envelope.failure(), "the backup");
    default:
      throw wire::ProtocolError("the backup sent a message that only a primary may send");
  }
}

void PrimaryEngine::request_stop(const std::string& reason) {
  if (phase_ == Phase::kHandOver || phase_ == Phase::kStopping || phase_ == Phase::kEnded) return;
  let_run();
  stop_protocol(reason);
}

void PrimaryEngine::request_hand_over() {
  if (!options_.can_hand_over)
    return observer_.on_hand_over_failed(
        Error("the other host's specrep is too old to take over a guest that lives",
              "install the same version there, and protect the guest again"));
  if (phase_ == Phase::kStart || phase_ == Phase::kFirstCopy)
    return observer_.on_hand_over_failed(
        Error("the backup has no complete copy yet", "try again when the guest is protected"));
  if (phase_ != Phase::kEpochs || hand_over_wanted_) return;
  hand_over_wanted_ = true;
  deadline_ = clock_.now() + kLastCommitTimeout;
  // After one more sample, so that little is left for when the guest stands still.
  schedule_.end_now(clock_.now());
  overdue_ = true;
}

void PrimaryEngine::let_run() {
  if (!standing_since_) return;
  standing_since_.reset();
  hand_over_wanted_ = false;
  // A commit that still comes hands nothing over.
  if (phase_ == Phase::kLastCommit || phase_ == Phase::kHandOver) phase_ = Phase::kEpochs;
  guest_.resume();
}

void PrimaryEngine::stop_protocol(const std::string& reason) {
  hand_over_wanted_ = false;
  if (logging_dirty_) guest_.stop_dirty_log();
  logging_dirty_ = false;
  // Its disks are to be alike when nothing follows.
  disks_.finish();
  wire::Message message;
  message.envelope.mutable_stop()->set_reason(reason);
  send(std::move(message));
  phase_ = Phase::kStopping;
  deadline_ = clock_.now() + kStopTimeout;
}

std::uint64_t PrimaryEngine::send(wire::Message message) {
  const std::uint64_t bytes = message.payload.size() + message.envelope.ByteSizeLong();
  costs_.link(clock_.now(), queued_ever_, link_.queued_bytes());
  queued_ever_ += bytes;
  link_.send(std::move(message));
  return bytes;
}

void PrimaryEngine::begin() {
  wire::Message message;
  wire::Start& start = *message.envelope.mutable_start();
  start.set_guest_name(options_.guest_name);
  start.set_guest_uuid(options_.guest_uuid.data(), options_.guest_uuid.size());
  start.set_kind(options_.guest_kind);
  start.set_gfn_count(guest_.gfn_count());
  start.set_domain_config_json(options_.domain_config_json);
  start.set_epoch_ms(static_cast<std::uint32_t>(milliseconds(epoch_length_.length())));
  start.set_cache_pages(options_.compress ? options_.delta_cache_pages : 0);
  message.payload = guest_.stream_prologue();
  send(std::move(message));

  // The log first, the list of pages after it: a page that appears in between is in the log.
  guest_.start_dirty_log();
  logging_dirty_ = true;
  guest_.populated(present_);
  present_.list(unsent_);
  phase_ = Phase::kFirstCopy;
  begin_round();
}

void PrimaryEngine::begin_round() {
  ++round_;
  // Cleaned in the log before they are read, see guest.h. For the first round the log is new.
  round_gfns_ = std::exchange(unsent_, {});
  for (const Gfn gfn : round_gfns_) is_unsent_.reset(gfn);
  round_done_ = 0;
}

TimePoint PrimaryEngine::step_first_copy() {
  const TimePoint now = clock_.now();
  if (link_.queued_bytes() >= kQueuedBytesMax) return now + kLinkPoll;
  if (round_done_ < round_gfns_.size()) {
    const std::size_t count = std::min(kChunkPages, round_gfns_.size() - round_done_);
    residual_.assign(round_gfns_.begin() + static_cast<std::ptrdiff_t>(round_done_),
                     round_gfns_.begin() + static_cast<std::ptrdiff_t>(round_done_ + count));
    copy_aside(residual_);
    wire::CodecCounters counters;
    first_copy_bytes_ += send_pages(0, residual_, arena_.data(), first_copy_encoder_, counters);
    round_done_ += count;
    observer_.on_first_copy(round_, round_done_, round_gfns_.size(), first_copy_bytes_);
    return now;
  }
  if (const std::uint64_t missing = disks_.missing_bytes()) {
    observer_.on_disk_copy(missing);
    return now + kDisksPoll;
  }
  sample();
  if (unsent_.size() > kFirstCopyDirtyPagesMax && round_ < kFirstCopyRoundsMax) {
    begin_round();
    return now;
  }
  phase_ = Phase::kEpochs;
  epoch_ = 1;
  epoch_start_ = now;
  report_ = {};
  report_.epoch = epoch_;
  checkpoint();
  return clock_.now();
}

PrimaryEngine::Sampled PrimaryEngine::sample() {
  const TimePoint asked = clock_.now();
  guest_.sample(sampled_);
  sampled_.list(written_);
  const Duration took = clock_.now() - asked;

  std::uint64_t refaults = 0;
  merged_.clear();
  auto waiting = unsent_.begin();
  for (const Gfn gfn : written_) {
    if (is_unsent_.test(gfn)) {
      ++refaults;
      continue;
    }
    if (const auto sent = sent_.find(gfn); sent != sent_.end()) {
      ++refaults;
      ++report_.wasted_pages;
      report_.wasted_bytes += sent->second;
      sent_.erase(sent);
    } else {
      ++report_.written_pages;
    }
    is_unsent_.set(gfn);
    while (waiting != unsent_.end() && *waiting < gfn) merged_.push_back(*waiting++);
    merged_.push_back(gfn);
  }
  merged_.insert(merged_.end(), waiting, unsent_.end());
  unsent_.swap(merged_);
  return {took, refaults};
}

void PrimaryEngine::speculate(model::Slot slot) {
  const TimePoint now = clock_.now();
  const std::size_t queued = link_.queued_bytes();
  costs_.link(now, queued_ever_, queued);
  const TimePoint next = schedule_.next();
  // What the link has no room for need not be looked at.
  if (slot != 0 && costs_.pages_in(slot, next - now, queued) == 0) return;

  const Sampled sampled = sample();
  costs_.sampled(sampled.took, sampled.refaults);
  report_.sampling += sampled.took;
  ++report_.samples;
  policy_->sampled(slot, written_);
  policy_->choose(slot, unsent_, costs_.pages_in(slot, schedule_.end() - next, 0), chosen_);
  if (chosen_.empty()) return;

  std::vector<Gfn> part;
  std::vector<std::uint32_t> sizes;
  // What a page takes is known only when it has been encoded, and a link with too much queued
  // has no room at the next samples, which matter most: first as many as there is room for
  // whatever they take, then half of what there should be room for, if the next ones are like
  // those before, and at most twice as many as these.
  double page_bytes = kPageBytes;
  for (std::size_t first = 0; first < chosen_.size();) {
    const TimePoint begun = clock_.now();
    std::uint64_t room = costs_.pages_in(slot, next - begun, link_.queued_bytes(), page_bytes);
    if (room == 0) break;
    if (first > 0) room = std::min<std::uint64_t>(room / 2, 2 * part.size());
    const std::size_t end =
        std::min(first + std::clamp<std::size_t>(room, kPartPagesMin, kChunkPages), chosen_.size());
    part.assign(chosen_.begin() + static_cast<std::ptrdiff_t>(first),
                chosen_.begin() + static_cast<std::ptrdiff_t>(end));
    first = end;
    std::sort(part.begin(), part.end());
    for (const Gfn gfn : part) is_unsent_.reset(gfn);
    copy_aside(part);
    const std::uint64_t bytes =
        send_pages(epoch_, part, arena_.data(), encoder_, report_.codecs, &sizes);
    for (std::size_t i = 0; i < part.size(); ++i) sent_.emplace(part[i], sizes[i]);
    report_.speculative_pages += part.size();
    report_.speculative_bytes += bytes;
    costs_.sent(slot, clock_.now() - begun, part.size(), bytes);
    page_bytes =
        static_cast<double>(bytes) / static_cast<double>(std::max<std::size_t>(part.size(), 1));
  }
  std::erase_if(unsent_, [&](Gfn gfn) { return !is_unsent_.test(gfn); });
}

void PrimaryEngine::begin_epoch() {
  ++epoch_;
  schedule_epoch();
  for (const Gfn gfn : unsent_) is_unsent_.reset(gfn);
  unsent_.clear();
  sent_.clear();
  report_ = {};
  report_.epoch = epoch_;
}

void PrimaryEngine::schedule_epoch() {
  epoch_start_ = clock_.now();
  const Duration length = epoch_length_.length();
  // Behind a slow backup epochs last longer than they should: then samples may cost more.
  Duration finest{};
  if (policy_->speculates())
    finest = std::min(costs_.finest(std::max(length, last_length_)), length / 2);
  schedule_ = SamplingSchedule(epoch_start_, length, finest, costs_.horizon());
  overdue_ = false;
}

TimePoint PrimaryEngine::step_epoch() {
  const TimePoint now = clock_.now();
  if (is_filling(now)) schedule_.end_now(now);
  if (now >= schedule_.end()) {
    // The last one's commit must not wait behind another's.
    if (in_flight_.size() >= (hand_over_wanted_ ? 1 : kEpochsInFlightMax)) {
      overdue_ = true;  // the Commit's arrival ends the wait
      if (!hand_over_wanted_) return now + options_.heartbeat_timeout;
      if (now < deadline_) return deadline_;
      hand_over_wanted_ = false;
      observer_.on_hand_over_failed(
          Error("the backup did not commit the checkpoint before the last within 5 s",
                "try again later"));
      return now;
    }
    // An epoch that went on past its last sample, or never came to it because sending the one
    // before took so long, would leave all of that to the checkpoint.
    if (overdue_ || schedule_.slots_left() > 0) {
      overdue_ = false;
      schedule_.postpone(now);
    }
    if (now >= schedule_.end()) {
      checkpoint();
      return clock_.now();
    }
  }
  if (const auto slot = schedule_.take(now)) speculate(*slot);
  return std::min(schedule_.next(), now + kFillPoll);
}

bool PrimaryEngine::is_filling(TimePoint now) {
  if (now - fill_looked_at_ < kFillPoll) return false;
  fill_looked_at_ = now;
  return std::max(output_.fill(), disks_.fill()) > kFillMax;
}

void PrimaryEngine::checkpoint() {
  const bool last = hand_over_wanted_;
  const bool verify = !last && options_.verify_every != 0 && epoch_ % options_.verify_every == 0;
  guest::State state;
  std::vector<wire::Message> digests;
  std::vector<std::uint64_t> disk_marks;

  const TimePoint asked = clock_.now();
  guest_.stop();
  const TimePoint stopped = clock_.now();
  TimePoint copied, captured, verified;
  try {
    sample();
    residual_ = unsent_;
    copy_aside(residual_);
    copied = clock_.now();
    state = guest_.capture_state();
    captured = clock_.now();
    if (verify) digests = digest_memory(epoch_);
    disk_marks = disks_.end_epoch(epoch_);
    output_.end_epoch(epoch_);
    verified = clock_.now();
  } catch (...) {
    guest_.resume();
    throw;
  }
  if (last) {
    standing_since_ = stopped;
    phase_ = Phase::kLastCommit;
    deadline_ = verified + kLastCommitTimeout;
  } else {
    guest_.resume();
  }
  const TimePoint resumed = clock_.now();

  report_.length = asked - epoch_start_;
  report_.suspend = stopped - asked;
  report_.capture_memory = copied - stopped;
  report_.capture_state = captured - copied;
  report_.verify = verified - captured;
  report_.resume = resumed - verified;
  epoch_length_.paused(report_.paused() - report_.verify, report_.sampling);
  policy_->ended(written_);
  costs_.ended(report_.length, report_.written_pages,
               report_.speculative_pages - report_.wasted_pages, report_.speculative_bytes);
  last_length_ = report_.length;
  const EpochReport report = report_;
  begin_epoch();
  in_flight_.push_back({report.epoch, resumed});
  send_residual(report, std::move(state), disk_marks);
  for (auto& message : digests) send(std::move(message));
}

void PrimaryEngine::send_residual(EpochReport report, guest::State state,
                                  const std::vector<std::uint64_t>& disk_marks) {
  report.residual_pages = residual_.size();
  report.residual_bytes =
      send_pages(report.epoch, residual_, arena_.data(), encoder_, report.codecs);

  wire::Message message;
  wire::Checkpoint& checkpoint = *message.envelope.mutable_checkpoint();
  checkpoint.set_epoch(report.epoch);
  checkpoint.set_pages(residual_.size() + report.speculative_pages);
  checkpoint.set_hypervisor_bytes(static_cast<std::uint32_t>(state.hypervisor.size()));
  checkpoint.set_device_model_bytes(static_cast<std::uint32_t>(state.device_model.size()));
  checkpoint.set_device_model_store_bytes(
      static_cast<std::uint32_t>(state.device_model_store.size()));
  for (const guest::CardAddress& address : state.addresses) {
    wire::CardAddress& sent = *checkpoint.add_addresses();
    sent.set_mac(address.mac.data(), address.mac.size());
    sent.set_address(address.ip.data(), address.ip_bytes());
    sent.set_router(address.is_router);
  }
  checkpoint.mutable_disk_marks()->Assign(disk_marks.begin(), disk_marks.end());
  message.payload = std::move(state.hypervisor);
  message.payload.insert(message.payload.end(), state.device_model.begin(),
                         state.device_model.end());
  message.payload.insert(message.payload.end(), state.device_model_store.begin(),
                         state.device_model_store.end());
  report.state_bytes = send(std::move(message));
  observer_.on_checkpoint(report);
}

std::uint64_t PrimaryEngine::send_pages(Epoch epoch, const std::vector<Gfn>& gfns,
                                        const std::byte* data, wire::PageEncoder& encoder,
                                        wire::CodecCounters& counters,
                                        std::vector<std::uint32_t>* sizes) {
  std::uint64_t bytes = 0;
  if (sizes) sizes->clear();
  for (std::size_t first = 0; first < gfns.size(); first += wire::kPagesPerMessageMax) {
    const std::size_t count = std::min(wire::kPagesPerMessageMax, gfns.size() - first);
    bytes += send(
        encoder.encode(epoch, std::span(gfns).subspan(first, count), data + first * kPageBytes));
    counters += encoder.last();
    if (sizes) sizes->insert(sizes->end(), encoder.sizes().begin(), encoder.sizes().end());
  }
  return bytes;
}

void PrimaryEngine::copy_aside(std::vector<Gfn>& gfns) {
  if (arena_.size() < gfns.size() * kPageBytes) arena_.resize(gfns.size() * kPageBytes);
  present_flags_.resize(gfns.size());
  guest_.copy_pages(gfns, arena_.data(), present_flags_.data());
  drop_absent(gfns, arena_.data(), present_flags_);
  for (const Gfn gfn : gfns) present_.set(gfn);
}

void PrimaryEngine::drop_absent(std::vector<Gfn>& gfns, std::byte* data,
                                const std::vector<std::uint8_t>& present) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < gfns.size(); ++i) {
    if (!present[i]) continue;
    if (kept != i) {
      gfns[kept] = gfns[i];
      std::memcpy(data + kept * kPageBytes, data + i * kPageBytes, kPageBytes);
    }
    ++kept;
  }
  gfns.resize(kept);
}

// Digests of every page as the backup must have it once it has committed `epoch`: of the copy
// for pages of the residual, of the stopped guest's own memory for all others. Pages that
// another domain wrote after the log was sampled (network backends go on while the guest is
// stopped) belong to the next epoch and are left out, as are those that the restoring side
// rewrites itself.
std::vector<wire::Message> PrimaryEngine::digest_memory(Epoch epoch) {
  struct Digested {
    std::vector<Gfn> gfns;
    std::vector<std::byte> digests;
  } all;
  std::vector<Gfn> chunk;
  std::vector<std::byte> pages(kChunkPages * kPageBytes);
  std::vector<std::uint8_t> flags;

  std::size_t in_residual = 0;
  const auto add = [&](Gfn gfn, const std::byte* page) {
    all.gfns.push_back(gfn);
    all.digests.resize(all.digests.size() + wire::kDigestBytes);
    wire::digest_page(page, all.digests.data() + all.digests.size() - wire::kDigestBytes);
  };
  const auto digest_chunk = [&] {
    flags.resize(chunk.size());
    guest_.copy_pages(chunk, pages.data(), flags.data());
    for (std::size_t i = 0; i < chunk.size(); ++i) {
      while (in_residual < residual_.size() && residual_[in_residual] < chunk[i]) ++in_residual;
      if (in_residual < residual_.size() && residual_[in_residual] == chunk[i])
        add(chunk[i], arena_.data() + in_residual * kPageBytes);
      else if (flags[i])
        add(chunk[i], pages.data() + i * kPageBytes);
    }
    chunk.clear();
  };
  present_.for_each([&](Gfn gfn) {
    chunk.push_back(gfn);
    if (chunk.size() == kChunkPages) digest_chunk();
  });
  if (!chunk.empty()) digest_chunk();

  PageBitmap left_out(guest_.gfn_count());
  guest_.peek(left_out);
  for (const Gfn gfn : guest_.special_pages()) left_out.set(gfn);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < all.gfns.size(); ++i) {
    if (left_out.test(all.gfns[i])) continue;
    all.gfns[kept] = all.gfns[i];
    std::memmove(all.digests.data() + kept * wire::kDigestBytes,
                 all.digests.data() + i * wire::kDigestBytes, wire::kDigestBytes);
    ++kept;
  }
  comparisons_.push_back({epoch, all.gfns.size() - kept});
  all.gfns.resize(kept);
  all.digests.resize(kept * wire::kDigestBytes);
  return wire::encode_digests(epoch, all.gfns, all.digests);
}

void PrimaryEngine::commit(const wire::Commit& commit) {
  if (in_flight_.empty() || in_flight_.front().epoch != commit.epoch()) {
    throw wire::ProtocolError("the backup committed epoch " + std::to_string(commit.epoch()) +
                              ", which is not the oldest one in flight");
  }
  const Duration lag = clock_.now() - in_flight_.front().resumed;
  in_flight_.pop_front();
  committed_ = commit.epoch();
  output_.release(committed_);
  disks_.release(committed_);
  epoch_length_.committed(lag);
  // A backup compares an epoch before it commits the next.
  std::erase_if(comparisons_, [&](const Comparison& asked) { return asked.epoch < committed_; });
  observer_.on_commit(commit, lag);
  if (phase_ == Phase::kLastCommit) hand_over();
}

void PrimaryEngine::verified(const wire::Verified& result) {
  if (comparisons_.empty() || comparisons_.front().epoch != result.epoch())
    throw wire::ProtocolError("the backup compared its copy with epoch " +
                              std::to_string(result.epoch()) + ", and was not asked");
  const std::uint64_t pages_left_out = comparisons_.front().pages_left_out;
  comparisons_.pop_front();
  observer_.on_verified(result, pages_left_out);
}

void PrimaryEngine::hand_over() {
  // Frames that were on their way through dom0 when the guest was stopped went to the next epoch.
  // They are older than the checkpoint, and there is no later commit with which they could leave.
  output_.end_epoch(epoch_);
  output_.release(epoch_);
  observer_.on_hand_over(clock_.now() - *standing_since_);
  phase_ = Phase::kHandOver;
  deadline_ = clock_.now() + kHandOverTimeout;
  wire::Message message;
  message.envelope.mutable_hand_over()->set_epoch(committed_);
  send(std::move(message));
}

void PrimaryEngine::answer_to_hand_over(const wire::Outcome& outcome) {
  if (phase_ != Phase::kHandOver)
    throw wire::ProtocolError("the backup says what became of its copy, and was not asked");
  if (outcome.kind() == wire::Outcome::DISCARDED) {
    stop_confirmed_ = true;
    throw Error("the backup did not take the guest over", "its log says why");
  }
  if (outcome.kind() != wire::Outcome::ACTIVATED)
    throw wire::ProtocolError("the backup does not say what became of its copy");
  standing_since_.reset();  // for good
  handed_over_ = true;
  phase_ = Phase::kEnded;
}

}  // namespace specrep::epoch
