#include <algorithm>
#include <thread>

#include "libspecrep/disk/disk_link.h"
#include "libspecrep/error.h"
#include "libspecrep/wire/message.h"

namespace specrep::disk {

namespace {

// On the way: enough for a link of 10 Gbit/s, and a bound of what a guest can make dom0 keep.
constexpr std::size_t kQueuedBytesMax = 16 << 20;
constexpr auto kLinkPoll = std::chrono::milliseconds(1);

TimePoint now() { return std::chrono::steady_clock::now(); }

}  // namespace

Generation generation_from(const std::string& bytes) {
  Generation generation;
  if (bytes.size() != generation.size())
    throw wire::ProtocolError("the generation of a disk has the wrong size");
  std::transform(bytes.begin(), bytes.end(), generation.begin(),
                 [](char c) { return static_cast<std::uint8_t>(c); });
  return generation;
}

SourceEnd::SourceEnd(Source& source, wire::Link& link, std::string path, Record& record,
                     KeepRecord keep, Duration silence_max, std::uint64_t resync_bytes_per_s)
    : source_(source),
      link_(link),
      path_(std::move(path)),
      record_(record),
      keep_(std::move(keep)),
      silence_max_(silence_max),
      resync_bytes_per_s_(resync_bytes_per_s) {}

void SourceEnd::send(Write write) {
  while (!over_ && link_.queued_bytes() > kQueuedBytesMax) std::this_thread::sleep_for(kLinkPoll);
  if (over_) return;
  wire::Message message;
  wire::DiskWrite& header = *message.envelope.mutable_disk_write();
  header.set_number(write.number);
  header.set_offset(write.extent.offset);
  header.set_length(write.extent.length);
  message.payload = std::move(write.data);
  link_.send(std::move(message));
}

void SourceEnd::begin_epochs() {
  if (over_) return;
  wire::Message message;
  message.envelope.mutable_disk_epochs_begin();
  link_.send(std::move(message));
}

std::string SourceEnd::run() {
  std::string why;
  try {
    wire::Message message;
    wire::DiskHello& hello = *message.envelope.mutable_disk_hello();
    hello.set_path(path_);
    hello.set_size_bytes(record_.size_bytes);
    hello.set_sector_bytes(sector_bytes(path_));
    hello.set_generation(record_.generation.data(), record_.generation.size());
    mark_.emplace(source_.path());
    hello.set_storage_mark(mark_->text());
    if (record_.base) hello.set_base_generation(record_.base->data(), record_.base->size());
    link_.send(std::move(message));
    while (!over_) {
      const TimePoint deadline = link_.last_heard() + silence_max_;
      if (now() > deadline) throw Error("the backup has not been heard of on a disk's link");
      const auto event = link_.wait(deadline + std::chrono::milliseconds(1));
      if (event.closed) throw Error("the link of a disk closed: " + *event.closed);
      if (event.message) dispatch(*event.message);
    }
    why = "the mirror was stopped";
  } catch (const Error& error) {
    why = with_advice(error);
  }
  // First, so that a send() which waits for room lets go.
  over_ = true;
  mark_.reset();
  if (attached_) source_.detach();
  return why;
}

void SourceEnd::dispatch(const wire::Message& message) {
  const wire::Envelope& envelope = message.envelope;
  if (envelope.has_failure()) throw wire::to_error(envelope.failure(), "the backup");
  if (envelope.has_disk_ready() && !attached_) {
    mark_.reset();
    note_missing(message);
    source_.attach(*this, resync_bytes_per_s_);
    attached_ = true;
  } else if (envelope.has_disk_held() && attached_) {
    source_.held(envelope.disk_held().held());
    source_.durable(envelope.disk_held().durable());
  } else {
    throw wire::ProtocolError("the backup sent a message that has no place on a disk's link");
  }
}

void SourceEnd::note_missing(const wire::Message& ready) {
  record_.followed = true;
  if (ready.envelope.disk_ready().full_copy()) {
    source_.miss({0, record_.size_bytes});
    // Only now: beside the old marks this generation would promise too much.
    record_.generation = generation_from(ready.envelope.disk_ready().generation());
    record_.base.reset();
    return keep_(record_);
  }
  keep_(record_);
  constexpr std::uint64_t kChunk = IntentBitmap::kChunkBytes;
  const std::uint64_t chunks = (record_.size_bytes + kChunk - 1) / kChunk;
  if (ready.payload.size() > (chunks + 7) / 8)
    throw wire::ProtocolError("the backup marks more of the disk than there is");
  for (std::uint64_t chunk = 0; chunk < ready.payload.size() * 8; ++chunk) {
    if (!(std::to_integer<unsigned>(ready.payload[chunk / 8]) >> (chunk % 8) & 1)) continue;
    const std::uint64_t offset = chunk * kChunk;
    if (offset >= record_.size_bytes)
      throw wire::ProtocolError("the backup marks more of the disk than there is");
    source_.miss({offset, std::min(kChunk, record_.size_bytes - offset)});
  }
}

void SourceEnd::stop() {
  over_ = true;
  link_.wake();
}

}  // namespace specrep::disk
