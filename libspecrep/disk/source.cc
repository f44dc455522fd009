#include "libspecrep/disk/source.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "libspecrep/error.h"

namespace specrep::disk {

namespace {

// Of a write that the other side will not get by itself.
constexpr std::uint64_t kNever = ~std::uint64_t{0};

template <typename Work>
void for_each_chunk(const Extent& extent, Work work) {
  const std::uint64_t last = (extent.end() - 1) / IntentBitmap::kChunkBytes;
  for (std::uint64_t chunk = extent.offset / IntentBitmap::kChunkBytes; chunk <= last; ++chunk)
    work(chunk);
}

bool is_zero(std::span<const std::byte> data) {
  return data.empty() || (data[0] == std::byte{0} &&
                          std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0);
}

}  // namespace

Source::Source(Backing& backing, IntentBitmap& bitmap) : backing_(backing), bitmap_(bitmap) {}

Source::~Source() { detach(); }

void Source::write(std::uint64_t offset, std::span<const std::byte> data, bool force_unit_access) {
  change({0, {offset, data.size()}, {data.begin(), data.end()}}, force_unit_access);
}

void Source::zero(const Extent& extent, bool force_unit_access) {
  change({0, extent, {}}, force_unit_access);
}

void Source::change(Write write, bool force_unit_access) {
  if (write.extent.length == 0) return;
  std::uint64_t number = 0;
  {
    const RangeLock::Held held(ranges_, write.extent);
    // Before either copy has it.
    bitmap_.mark(write.extent);
    try {
      if (write.data.empty())
        backing_.zero(write.extent);
      else
        backing_.write(write.extent.offset, write.data);
    } catch (const Error&) {
      // A part may have been written. The other side has none of it, so the mark stays.
      const std::lock_guard lock(mutex_);
      remember(write.extent, kNever);
      throw;
    }
    number = send(std::move(write));
  }
  if (!force_unit_access) return;
  backing_.sync();
  wait_until_held(number);
}

std::uint64_t Source::send(Write write) {
  const std::lock_guard order(order_);
  std::uint64_t number = 0;
  for (std::size_t done = 0; done < write.extent.length;) {
    Write part;
    // Zeroes have no bytes to be sent.
    const std::uint64_t bytes = write.data.empty()
                                    ? write.extent.length
                                    : std::min(kWriteBytesMax, write.data.size() - done);
    part.extent = {write.extent.offset + done, bytes};
    if (bytes == write.data.size()) {
      part.data = std::move(write.data);
    } else if (!write.data.empty()) {
      const auto from = write.data.begin() + static_cast<std::ptrdiff_t>(done);
      part.data.assign(from, from + static_cast<std::ptrdiff_t>(bytes));
    }
    done += bytes;
    Sink* sink = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (!sink_) {
        // Whatever the other side had of these chunks.
        for_each_chunk(write.extent, [this](std::uint64_t chunk) { newest_.erase(chunk); });
        return 0;
      }
      sink = sink_;
      part.number = number = ++last_;
      sent_bytes_ += memory_bytes(part);
      remember(part.extent, number);
    }
    sink->send(std::move(part));
  }
  return number;
}

void Source::remember(const Extent& extent, std::uint64_t number) {
  for_each_chunk(extent, [&](std::uint64_t chunk) {
    std::uint64_t& newest = newest_[chunk];
    newest = std::max(newest, number);
  });
}

void Source::flush() {
  const std::uint64_t number = mark();
  backing_.sync();
  wait_until_held(number);
}

void Source::wait_until_held(std::uint64_t number) {
  std::unique_lock lock(mutex_);
  const std::uint64_t attached = attached_;
  changed_.wait(lock, [&] { return !sink_ || attached_ != attached || held_ >= number; });
}

void Source::attach(Sink& sink, std::uint64_t bytes_per_s) {
  detach();
  {
    const std::lock_guard order(order_);
    const std::lock_guard lock(mutex_);
    sink_ = &sink;
    ++attached_;
    last_ = held_ = durable_ = forgotten_ = sent_bytes_ = 0;
    newest_.clear();
    failure_ = nullptr;
    to_send_ = bitmap_.marked();
    resyncing_ = true;
  }
  resync_ = std::thread([this, bytes_per_s] { resync(bytes_per_s); });
}

void Source::detach() {
  {
    // Whoever is in sink->send() has it to the end.
    const std::lock_guard order(order_);
    const std::lock_guard lock(mutex_);
    sink_ = nullptr;
    // Of these the other side may not have all, and what comes now it does not get; a chunk that
    // still waited to be sent may have been written to in part.
    std::erase_if(newest_, [this](const auto& chunk_and_number) {
      return resyncing_ || chunk_and_number.second > durable_;
    });
  }
  changed_.notify_all();
  if (resync_.joinable()) resync_.join();
}

void Source::resync(std::uint64_t bytes_per_s) {
  const auto begun = std::chrono::steady_clock::now();
  std::uint64_t sent_bytes = 0;
  try {
    // What is marked behind the place where this is was written since, and has been sent by itself.
    for (std::uint64_t chunk = bitmap_.next_marked(0); chunk < bitmap_.chunks();
         chunk = bitmap_.next_marked(chunk + 1)) {
      const Extent extent = bitmap_.extent_of(chunk);
      {
        const RangeLock::Held held(ranges_, extent);
        Write write{0, extent, std::vector<std::byte>(extent.length)};
        backing_.read(extent.offset, write.data);
        if (is_zero(write.data)) write.data.clear();
        sent_bytes += write.data.size();
        if (send(std::move(write)) == 0) return;  // detached
      }
      std::unique_lock lock(mutex_);
      if (to_send_ > 1) --to_send_;
      if (bytes_per_s == 0) continue;
      const auto due = begun + std::chrono::duration<double>(static_cast<double>(sent_bytes) /
                                                             static_cast<double>(bytes_per_s));
      if (changed_.wait_until(lock, due, [&] { return !sink_; })) return;
    }
  } catch (const Error&) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    return;
  }
  const std::lock_guard lock(mutex_);
  to_send_ = 0;
  resyncing_ = false;
}

void Source::held(std::uint64_t number) {
  {
    const std::lock_guard lock(mutex_);
    if (number < held_ || number > last_)
      throw Error("the backup says that it holds write " + std::to_string(number) +
                  " of a disk, of " + std::to_string(last_));
    held_ = number;
  }
  changed_.notify_all();
}

void Source::durable(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  if (number > held_ || number < durable_)
    throw Error("the backup says that write " + std::to_string(number) +
                " of a disk is on stable storage, and holds " + std::to_string(held_));
  durable_ = number;
}

std::uint64_t Source::mark() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

std::uint64_t Source::begin_epochs() {
  const std::lock_guard order(order_);
  Sink* sink = nullptr;
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    sink = sink_;
    number = last_;
  }
  if (sink) sink->begin_epochs();
  return number;
}

std::uint64_t Source::held_number() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

std::uint64_t Source::forgotten_number() const {
  const std::lock_guard lock(mutex_);
  return forgotten_;
}

std::uint64_t Source::chunks_to_send() const {
  const std::lock_guard lock(mutex_);
  return to_send_;
}

bool Source::in_sync() const {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  return sink_ && !resyncing_;
}

std::uint64_t Source::sent_bytes() const {
  const std::lock_guard lock(mutex_);
  return sent_bytes_;
}

void Source::forget_durable() {
  std::map<std::uint64_t, std::uint64_t> old;
  std::uint64_t attached = 0, reached = 0;
  {
    const std::lock_guard lock(mutex_);
    // A chunk that still waits to be sent may have been written to in part.
    if (resyncing_) return;
    attached = attached_;
    reached = durable_;
    for (const auto& [chunk, number] : newest_)
      if (number <= reached) old.emplace(chunk, number);
  }
  // Here, too, or a power cut would leave this copy older than the other in a chunk that nobody
  // sends.
  if (!old.empty()) backing_.sync();
  for (const auto& [chunk, number] : old) {
    // Nobody marks it for a write while this looks.
    const RangeLock::Held held(ranges_, bitmap_.extent_of(chunk));
    {
      const std::lock_guard lock(mutex_);
      if (attached_ != attached) return;  // the numbers are those of another link
      const auto newest = newest_.find(chunk);
      if (newest == newest_.end() || newest->second != number) continue;
      newest_.erase(newest);
    }
    bitmap_.clear(chunk);
  }
  const std::lock_guard lock(mutex_);
  if (attached_ == attached) forgotten_ = reached;
}

}  // namespace specrep::disk
