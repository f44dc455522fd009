#include <algorithm>
#include <bit>
#include <filesystem>

#include "libspecrep/disk/disk_link.h"
#include "libspecrep/disk/intent_bitmap.h"
#include "libspecrep/disk/shared_storage.h"
#include "libspecrep/error.h"
#include "libspecrep/wire/message.h"

namespace specrep::disk {

namespace {

// The link says by itself when it closes; whether the primary lives is the memory link's business.
constexpr auto kLook = std::chrono::seconds(1);
// Messages; each has a quarter of a MiB at most.
constexpr int kReportEvery = 32;
// A copy of which nothing is known yet; no disk has it.
constexpr Generation kUnknown{};

// One bit for each chunk that this host's guest has written since the copies were alike.
std::vector<std::byte> marks_of(const Places& places, std::uint64_t size_bytes) {
  if (!std::filesystem::exists(places.bitmap)) return {};
  const IntentBitmap bitmap(places.bitmap, size_bytes);
  std::vector<std::byte> bits((bitmap.chunks() + 7) / 8);
  for (std::uint64_t chunk = bitmap.next_marked(0); chunk < bitmap.chunks();
       chunk = bitmap.next_marked(chunk + 1))
    bits[chunk / 8] |= static_cast<std::byte>(1 << chunk % 8);
  return bits;
}

// The guest counts in the primary's sectors, and would go on with this host's.
void check_sectors(const std::string& path, std::uint32_t primary) {
  if (!std::has_single_bit(primary))
    throw wire::ProtocolError("the primary's disk has sectors of " + std::to_string(primary) +
                              " bytes");
  const std::uint32_t here = sector_bytes(path);
  if (primary != here)
    throw Error(path + " has sectors of " + std::to_string(primary) +
                    " bytes at the primary and of " + std::to_string(here) + " here",
                "put one of the copies on a disk with the other's sectors; a file's have 512");
}

}  // namespace

Need compare(const std::string& path, const Record& primary, const std::optional<Record>& here) {
  if (!here || here->generation == kUnknown) return Need::kAll;
  if (here->generation == primary.generation) return Need::kMarked;
  // The primary went on from what is here: by itself, or the guest ran here first and was taken
  // over there. What was written here since was never committed.
  if (primary.base == here->generation) return Need::kMarked;
  const std::string discard =
      "if what is in it is not needed, `specrep-disk discard --force " + path + "` there";
  if (here->base == primary.generation)
    throw Error("the backup's copy of the disk " + path + " is newer than the primary's",
                "the guest ran there last; protect it from there; or, " + discard);
  if (here->role != Record::Role::kOwn) return Need::kAll;
  throw Error("the backup's copy of the disk " + path +
                  " was written to by itself, or belongs to another guest",
              discard + "; all of the disk is copied then");
}

TargetEnd::TargetEnd(std::string path, wire::Link& link, std::size_t staging_bytes_max,
                     bool durable, std::function<void()> changed)
    : path_(std::move(path)),
      places_(path_),
      link_(link),
      durable_(durable),
      changed_(std::move(changed)),
      backing_(open_backing(path_)) {
  target_.emplace(*backing_, staging_bytes_max, [this] {
    link_.wake();  // durable() has grown: run() tells the primary
    changed_();
  });
}

void TargetEnd::run() {
  try {
    while (!over_) {
      auto event = link_.wait(std::chrono::steady_clock::now() + kLook);
      // What has come together goes on stable storage together.
      for (int more = kReportEvery; event.message; --more) {
        dispatch(std::move(*event.message));
        if (more == 0) break;
        event = link_.wait(TimePoint());
      }
      sync_journal();
      report();
      if (event.closed) return;
    }
  } catch (const Error& error) {
    {
      const std::lock_guard lock(mutex_);
      failure_ = with_advice(error);
    }
    link_.send(wire::failure(error));
    changed_();
  }
}

void TargetEnd::stop() {
  over_ = true;
  link_.wake();
}

void TargetEnd::greet(const wire::Message& message) {
  if (!message.envelope.has_disk_hello())
    throw wire::ProtocolError("the primary does not say which disk its link is of");
  const wire::DiskHello& hello = message.envelope.disk_hello();
  if (hello.path() != path_)
    throw wire::ProtocolError("the primary's disk is not the one that is kept here");
  if (hello.size_bytes() != backing_->size_bytes())
    throw Error(path_ + " has " + std::to_string(hello.size_bytes()) +
                    " bytes at the primary and " + std::to_string(backing_->size_bytes()) + " here",
                "make both equally large");
  check_not_shared(path_, hello.storage_mark());
  check_sectors(path_, hello.sector_bytes());
  primary_.generation = generation_from(hello.generation());
  if (!hello.base_generation().empty()) primary_.base = generation_from(hello.base_generation());
  primary_.size_bytes = hello.size_bytes();

  const auto here = load_record(places_);
  const Need need = compare(path_, primary_, here);
  wire::Message ready;
  if (need == Need::kMarked) {
    ready.envelope.mutable_disk_ready();
    ready.payload = marks_of(places_, primary_.size_bytes);
  } else {
    primary_.generation = make_generation();
    primary_.base.reset();
    ready.envelope.mutable_disk_ready()->set_full_copy(true);
    ready.envelope.mutable_disk_ready()->set_generation(primary_.generation.data(),
                                                        primary_.generation.size());
  }
  record_ = primary_;
  record_->role = Record::Role::kSyncing;
  // Until the primary has noted, on its stable storage, that it has all to send.
  if (need == Need::kAll) record_->generation = kUnknown;
  save_record(places_, *record_);
  Journal::remove(places_);  // what it had is sent again
  link_.send(std::move(ready));
}

void TargetEnd::dispatch(wire::Message message) {
  const std::lock_guard lock(mutex_);
  if (!target_) return;  // activated: what a primary that lives still sends goes nowhere
  if (!record_) return greet(message);
  if (message.envelope.has_failure())
    throw wire::to_error(message.envelope.failure(), "the primary");
  if (message.envelope.has_disk_epochs_begin()) {
    if (durable_ && !journal_) journal_.emplace(places_);
    return target_->keep_aside();
  }
  if (!message.envelope.has_disk_write())
    throw wire::ProtocolError("the primary sent a message that has no place on a disk's link");
  if (record_->generation == kUnknown) {
    record_->generation = primary_.generation;
    save_record(places_, *record_);
  }
  const wire::DiskWrite& header = message.envelope.disk_write();
  Write write{header.number(), {header.offset(), header.length()}, std::move(message.payload)};
  if (journal_) journal_->append(write);
  target_->receive(std::move(write));
  if (!journal_) held_ = target_->held();
}

// Without the lock, since it takes as long as the host's storage does.
void TargetEnd::sync_journal() {
  std::uint64_t reached = 0, durable = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!journal_ || !target_) return;
    reached = target_->held();
    durable = target_->durable();
  }
  journal_->sync();
  journal_->forget(durable);
  const std::lock_guard lock(mutex_);
  held_ = reached;
}

void TargetEnd::report() {
  wire::Message message;
  {
    const std::lock_guard lock(mutex_);
    if (!record_ || !target_) return;
    const std::uint64_t held = held_, durable = target_->durable();
    if (complete_at_ && durable >= *complete_at_) complete();
    if (held == told_held_ && durable == told_durable_) return;
    told_held_ = held;
    told_durable_ = durable;
    message.envelope.mutable_disk_held()->set_held(held);
    message.envelope.mutable_disk_held()->set_durable(durable);
  }
  wire::answer(link_, std::move(message));
  changed_();
}

// The copy is whole, and what this host's own guest wrote once has gone.
void TargetEnd::complete() {
  complete_at_.reset();
  record_->role = Record::Role::kCopy;
  record_->open = true;
  record_->generation = primary_.generation;
  save_record(places_, *record_);
  if (!std::filesystem::exists(places_.bitmap)) return;
  IntentBitmap bitmap(places_.bitmap, primary_.size_bytes);
  for (std::uint64_t chunk = bitmap.next_marked(0); chunk < bitmap.chunks();
       chunk = bitmap.next_marked(chunk + 1))
    bitmap.clear(chunk);
  bitmap.sync();
}

std::uint64_t TargetEnd::held() const {
  const std::lock_guard lock(mutex_);
  return target_ ? held_ : 0;
}

std::optional<std::string> TargetEnd::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void TargetEnd::commit(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  if (!record_) throw Error("an epoch ends before the link of " + path_ + " is there");
  if (record_->role == Record::Role::kSyncing && !complete_at_) complete_at_ = number;
  target_->commit(number);
}

std::uint64_t TargetEnd::activate() {
  const std::lock_guard lock(mutex_);
  over_ = true;
  const std::uint64_t dropped = target_->activate();
  if (complete_at_) complete();
  if (!record_ || record_->role != Record::Role::kCopy)
    throw Error("the copy of the disk " + path_ + " was not complete: it cannot be used");
  target_.reset();
  backing_.reset();  // for its server
  make_own(places_, *record_);
  Journal::remove(places_);
  return dropped;
}

void TargetEnd::settle() {
  const std::lock_guard lock(mutex_);
  if (target_) target_->settle();
  if (complete_at_) complete();
  if (!record_ || !record_->open) return;
  record_->open = false;
  save_record(places_, *record_);
  Journal::remove(places_);
}

}  // namespace specrep::disk
