#include "disks.h"

#include <cstring>
#include <filesystem>
#include <thread>

#include "libspecrep/disk/disk_link.h"
#include "libspecrep/error.h"

namespace specrep::sim {

using namespace std::chrono_literals;
using disk::IntentBitmap;
using disk::Record;

namespace {

// A copy of which nothing is known yet, as in disk::TargetEnd.
constexpr disk::Generation kUnknown{};

// Whatever the threads of the code under test do, they do it soon.
template <typename Done>
void wait_for(Done done) {
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline)
      throw std::logic_error("a disk's thread does not come to an end");
    std::this_thread::sleep_for(10us);
  }
}

}  // namespace

Storage::Storage(std::string bitmap_path, Random& random)
    : bitmap_path(std::move(bitmap_path)),
      random_(random),
      current_(kDiskBytes),
      durable_(kDiskBytes) {}

Storage::~Storage() { stop_server(); }

void Storage::start_server() {
  if (server_) return;
  if (!record) record = Record{};
  if (record->role != Record::Role::kOwn)
    throw Error(std::string("the disk is ") + disk::to_string(record->role) +
                ", not the host's own");
  if (record->generation == kUnknown) record->generation = disk::make_generation();
  if (record->followed) disk::part(*record);
  record->size_bytes = kDiskBytes;
  server_ = std::make_unique<Server>(*this);
}

void Storage::stop_server() {
  if (server_) server_->mirror.reset();
  server_.reset();
}

void Storage::lose_power() {
  stop_server();
  for (const std::size_t block : not_synced_) {
    if (random_.chance(0.5)) continue;  // the disk had written it anyway
    const std::size_t bytes = std::min(kBlock, kDiskBytes - block * kBlock);
    std::memcpy(current_.data() + block * kBlock, durable_.data() + block * kBlock, bytes);
  }
  not_synced_.clear();
  durable_ = current_;
}

std::vector<std::byte> Storage::content() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

void Storage::read(std::uint64_t offset, std::span<std::byte> out) const {
  const std::lock_guard lock(mutex_);
  std::memcpy(out.data(), current_.data() + offset, out.size());
}

void Storage::fail_if_failing() {
  if (!failing) return;
  failed = true;
  throw Error("the storage fails");
}

void Storage::write(std::uint64_t offset, std::span<const std::byte> data) {
  const std::lock_guard lock(mutex_);
  fail_if_failing();
  std::memcpy(current_.data() + offset, data.data(), data.size());
  for (std::size_t block = offset / kBlock; block <= (offset + data.size() - 1) / kBlock; ++block)
    not_synced_.insert(block);
}

void Storage::sync() {
  const std::lock_guard lock(mutex_);
  fail_if_failing();
  for (const std::size_t block : not_synced_) {
    const std::size_t bytes = std::min(kBlock, kDiskBytes - block * kBlock);
    std::memcpy(durable_.data() + block * kBlock, current_.data() + block * kBlock, bytes);
  }
  not_synced_.clear();
}

DiskSource::DiskSource(Storage& storage, std::shared_ptr<Connection> connection)
    : storage_(storage), connection_(std::move(connection)) {
  End& end = connection_->end(0);
  end.on_arrival = [this] { serve(); };
  const Record& record = *storage_.record;
  wire::Message message;
  wire::DiskHello& hello = *message.envelope.mutable_disk_hello();
  hello.set_size_bytes(record.size_bytes);
  hello.set_generation(record.generation.data(), record.generation.size());
  if (record.base) hello.set_base_generation(record.base->data(), record.base->size());
  end.send(std::move(message));
}

DiskSource::~DiskSource() {
  if (attached_ && lost_.empty()) storage_.server()->source.detach();
  connection_->close(0, false);
}

void DiskSource::send(disk::Write write) {
  if (!lost_.empty()) return;
  wire::Message message;
  wire::DiskWrite& header = *message.envelope.mutable_disk_write();
  header.set_number(write.number);
  header.set_offset(write.extent.offset);
  header.set_length(write.extent.length);
  message.payload = std::move(write.data);
  connection_->end(0).send(std::move(message));
}

void DiskSource::begin_epochs() {
  wire::Message message;
  message.envelope.mutable_disk_epochs_begin();
  connection_->end(0).send(std::move(message));
}

void DiskSource::serve() {
  if (!lost_.empty()) return;
  try {
    while (connection_->end(0).has_event()) {
      const auto event = connection_->end(0).wait({});
      if (event.closed) throw Error("the link of a disk closed: " + *event.closed);
      dispatch(*event.message);
    }
  } catch (const Error& error) {
    lost_ = error.what();
    if (attached_) storage_.server()->source.detach();
    connection_->close(0, true);
  }
}

void DiskSource::dispatch(const wire::Message& message) {
  const wire::Envelope& envelope = message.envelope;
  disk::Source& source = storage_.server()->source;
  if (envelope.has_failure()) throw wire::to_error(envelope.failure(), "the backup");
  if (envelope.has_disk_ready() && !attached_) {
    storage_.record->followed = true;
    if (envelope.disk_ready().full_copy()) {
      source.miss({0, Storage::kDiskBytes});
      storage_.record->generation = disk::generation_from(envelope.disk_ready().generation());
      storage_.record->base.reset();
    }
    for (std::uint64_t chunk = 0; chunk < message.payload.size() * 8; ++chunk)
      if (std::to_integer<unsigned>(message.payload[chunk / 8]) >> (chunk % 8) & 1)
        source.miss(storage_.server()->bitmap.extent_of(chunk));
    source.attach(*this);
    attached_ = true;
    wait_for([&] { return source.in_sync(); });
  } else if (envelope.has_disk_held() && attached_) {
    source.held(envelope.disk_held().held());
    source.durable(envelope.disk_held().durable());
    // In production now and then; the sooner, the more can go wrong.
    if (connection_->chance(0.2)) source.forget_durable();
  } else {
    throw wire::ProtocolError("the backup sent a message that has no place on a disk's link");
  }
}

Storage::Server& ProtectedDisk::server() {
  Storage::Server* server = storage_.server();
  if (!server || !server->mirror) throw Error("the disk's server is gone");
  if (!server->mirror->lost().empty())
    throw Error("the backup does not follow the disk: " + server->mirror->lost());
  return *server;
}

std::uint64_t ProtectedDisk::missing_bytes() {
  Storage::Server& here = server();
  if (here.mirror->attached() && here.source.in_sync()) return 0;
  return std::max<std::uint64_t>(1, here.source.chunks_to_send()) * IntentBitmap::kChunkBytes;
}

std::vector<std::uint64_t> ProtectedDisk::end_epoch(Epoch epoch) {
  Storage::Server& here = server();
  const std::uint64_t mark = began_ ? here.source.mark() : here.source.begin_epochs();
  began_ = true;
  ended_.emplace_back(epoch, here.source.sent_bytes());
  return {mark};
}

void ProtectedDisk::release(Epoch epoch) {
  for (; !ended_.empty() && ended_.front().first <= epoch; ended_.pop_front())
    committed_bytes_ = ended_.front().second;
}

double ProtectedDisk::fill() {
  return static_cast<double>(server().source.sent_bytes() - committed_bytes_) /
         static_cast<double>(staging_bytes_max_);
}

void ProtectedDisk::finish() noexcept {
  if (Storage::Server* here = storage_.server(); here && here->mirror) here->mirror->rush();
}

DiskCopy::DiskCopy(Storage& storage, std::shared_ptr<Connection> connection,
                   std::size_t staging_bytes_max, std::function<void()> changed)
    : storage_(storage),
      connection_(std::move(connection)),
      changed_(std::move(changed)),
      backing_(storage) {
  target_.emplace(backing_, staging_bytes_max, [this] {
    if (storage_.failed) target_failed_ = true;
  });
  connection_->end(1).on_arrival = [this] { serve(); };
}

DiskCopy::~DiskCopy() { connection_->close(1, false); }

void DiskCopy::set_paused(bool paused) {
  connection_->end(1).set_paused(paused);
  if (!paused) serve();
}

void DiskCopy::serve() {
  if (!failure_.empty() || !lost_.empty()) return;
  End& end = connection_->end(1);
  try {
    while (end.has_event()) {
      auto event = end.wait({});
      if (event.message) dispatch(std::move(*event.message));
      if (event.closed) lost_ = *event.closed;
    }
    report();
  } catch (const Error& error) {
    failure_ = error.what();
    end.send(wire::failure(error));
  }
  changed_();
}

void DiskCopy::dispatch(wire::Message message) {
  if (!target_) return;  // activated
  if (!record_) return greet(message);
  if (message.envelope.has_disk_epochs_begin()) {
    aside_ = true;
    return target_->keep_aside();
  }
  if (!message.envelope.has_disk_write())
    throw wire::ProtocolError("the primary sent a message that has no place on a disk's link");
  if (record_->generation == kUnknown) record_->generation = primary_->generation;
  storage_.record = *record_;
  const wire::DiskWrite& header = message.envelope.disk_write();
  target_->receive(
      {header.number(), {header.offset(), header.length()}, std::move(message.payload)});
  if (!aside_) wait_until_applied(target_->held());
}

void DiskCopy::greet(const wire::Message& message) {
  const wire::DiskHello& hello = message.envelope.disk_hello();
  primary_.emplace();
  primary_->generation = disk::generation_from(hello.generation());
  if (!hello.base_generation().empty())
    primary_->base = disk::generation_from(hello.base_generation());
  primary_->size_bytes = hello.size_bytes();
  const disk::Need need = disk::compare("disk", *primary_, storage_.record);
  wire::Message ready;
  ready.envelope.mutable_disk_ready();
  if (need == disk::Need::kMarked) {
    const IntentBitmap bitmap(storage_.bitmap_path, Storage::kDiskBytes);
    ready.payload.resize((bitmap.chunks() + 7) / 8);
    for (std::uint64_t chunk = bitmap.next_marked(0); chunk < bitmap.chunks();
         chunk = bitmap.next_marked(chunk + 1))
      ready.payload[chunk / 8] |= static_cast<std::byte>(1 << chunk % 8);
  } else {
    primary_->generation = disk::make_generation();
    primary_->base.reset();
    ready.envelope.mutable_disk_ready()->set_full_copy(true);
    ready.envelope.mutable_disk_ready()->set_generation(primary_->generation.data(),
                                                        primary_->generation.size());
  }
  record_ = primary_;
  record_->role = Record::Role::kSyncing;
  if (need == disk::Need::kAll) record_->generation = kUnknown;
  storage_.record = *record_;
  connection_->end(1).send(std::move(ready));
}

void DiskCopy::wait_until_applied(std::uint64_t number) {
  wait_for([&] { return target_->durable() >= number || target_failed_; });
}

void DiskCopy::report() {
  if (!record_ || !target_) return;
  const std::uint64_t held = target_->held(), durable = target_->durable();
  if (complete_at_ && durable >= *complete_at_) complete();
  if (held == told_held_ && durable == told_durable_) return;
  told_held_ = held;
  told_durable_ = durable;
  wire::Message message;
  message.envelope.mutable_disk_held()->set_held(held);
  message.envelope.mutable_disk_held()->set_durable(durable);
  connection_->end(1).send(std::move(message));
}

void DiskCopy::complete() {
  complete_at_.reset();
  record_->role = Record::Role::kCopy;
  record_->open = true;
  record_->generation = primary_->generation;
  storage_.record = *record_;
  IntentBitmap bitmap(storage_.bitmap_path, Storage::kDiskBytes);
  for (std::uint64_t chunk = bitmap.next_marked(0); chunk < bitmap.chunks();
       chunk = bitmap.next_marked(chunk + 1))
    bitmap.clear(chunk);
  bitmap.sync();
}

bool DiskCopy::hold(const std::vector<std::uint64_t>& marks) const {
  if (!failure_.empty()) throw Error("the copy of the disk: " + failure_);
  if (record_ && target_ && target_->held() >= marks.at(0)) return true;
  if (!lost_.empty()) throw Error("the link of the disk: " + lost_);
  return false;
}

void DiskCopy::commit(const std::vector<std::uint64_t>& marks) {
  if (record_->role == Record::Role::kSyncing && !complete_at_) complete_at_ = marks.at(0);
  target_->commit(marks.at(0));
  aside_ = true;
  wait_until_applied(marks.at(0));
  report();
}

void DiskCopy::activate() {
  target_->activate();
  if (complete_at_) complete();
  if (!record_ || record_->role != Record::Role::kCopy)
    throw Error("the copy of the disk was not complete: it cannot be used");
  target_.reset();
  disk::part(*record_);
  record_->role = Record::Role::kOwn;
  record_->open = false;
  storage_.record = *record_;
}

void DiskCopy::settle() {
  if (!target_) return;
  target_->settle();
  if (complete_at_) complete();
  if (!record_ || !record_->open) return;
  record_->open = false;
  storage_.record = *record_;
}

}  // namespace specrep::sim
