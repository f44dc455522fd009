#include "libspecrep/xen/xen_restore.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "libspecrep/wire/page_codec.h"
#include "libspecrep/xen/stream_records.h"
#include "libspecrep/xen/vif_bridge.h"

namespace specrep::xen {

using namespace std::chrono_literals;

namespace {

// What may wait for libxl: enough that a burst of epochs does not hold up their successors'
// staging, little next to a dom0's memory.
constexpr std::size_t kQueuedBytesMax = 64 * 1024 * 1024;
// Pages in one PAGE_DATA record: libxc's own batch size, below IOV_MAX.
constexpr std::size_t kRecordPages = 1000;
constexpr auto kNoDomain = static_cast<std::uint32_t>(INVALID_DOMID);
// Looks for an empty pipe at a barrier.
constexpr Duration kPipePoll = 1ms;

}  // namespace

XenRestore::XenRestore(std::string vif_bridge)
    : vif_bridge_(std::move(vif_bridge)), domid_(kNoDomain) {}

XenRestore::~XenRestore() {
  if (begun_ && !activated_) discard();
  join();
}

void XenRestore::join() {
  if (feeder_.joinable()) feeder_.join();
  if (libxl_thread_.joinable()) libxl_thread_.join();
}

void XenRestore::begin(const wire::Start& start, std::vector<std::byte> prologue) {
  name_ = start.guest_name();
  device_model_ = start.kind() != wire::PVH;
  cooperative_ = start.kind() != wire::HVM;

  config_.parse(libxl_, start.domain_config_json());
  std::free(config_->c_info.name);
  config_->c_info.name = strdup(waiting_name(name_).c_str());
  config_->c_info.domid = INVALID_DOMID;
  if (!knows_vif_bridge())
    spdlog::info("vif-bridge is not one that is known here: an activation waits for it");
  else if (access(vif_bridge_.c_str(), X_OK) != 0)
    spdlog::warn("cannot run {}: an activation waits for vif-bridge", vif_bridge_);
  else
    stand_ins_ = use_stand_in(config_, vif_bridge_);

  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) throw Error(errno_text("cannot make a pipe for libxl"));
  pipe_fd_ = ends[1];
  begun_ = true;
  libxl_thread_ = std::thread([this, read_fd = ends[0]] { run_libxl(read_fd); });
  feeder_ = std::thread([this] { feed(); });

  stream::Bytes head;
  stream::append_libxl_header(head);
  head.insert(head.end(), prologue.begin(), prologue.end());
  const std::size_t bytes = head.size();
  enqueue(std::move(head), bytes);
}

// The restore runs as an asynchronous libxl operation, so that discard() can abort it.
void XenRestore::run_libxl(int read_fd) {
  libxl_domain_restore_params params;
  libxl_domain_restore_params_init(&params);
  params.checkpointed_stream = LIBXL_CHECKPOINTED_STREAM_REMUS;
  params.stream_version = 2;
  how_.callback = nullptr;
  how_.u.for_event = 1;
  std::uint32_t domid = kNoDomain;
  int rc = libxl_domain_create_restore(libxl_.get(), config_.get(), &domid, read_fd, -1, &params,
                                       &how_, nullptr);
  while (!rc) {
    libxl_event* event = nullptr;
    rc = libxl_event_wait(libxl_.get(), &event, LIBXL_EVENTMASK_ALL, nullptr, nullptr);
    if (rc) break;
    const bool complete = event->type == LIBXL_EVENT_TYPE_OPERATION_COMPLETE;
    if (complete) rc = event->u.operation_complete.rc;
    libxl_event_free(libxl_.get(), event);
    if (complete) break;
  }
  libxl_domain_restore_params_dispose(&params);
  close(read_fd);
  const std::lock_guard lock(mutex_);
  libxl_done_ = true;
  if (rc)
    failed_ = "libxl could not restore guest " + name_ + " (error " + std::to_string(rc) + ")";
  else
    domid_ = domid;
  changed_.notify_all();
}

std::optional<std::uint32_t> XenRestore::domid() const {
  {
    const std::lock_guard lock(mutex_);
    if (domid_ != kNoDomain) return domid_;
  }
  std::uint32_t domid = kNoDomain;
  if (libxl_name_to_domid(libxl_.get(), waiting_name(name_).c_str(), &domid)) return std::nullopt;
  return domid;
}

void XenRestore::check_alive() const {
  if (failed_)
    throw Error(*failed_, "the lines of libxl above, and /var/log/xen on the backup, say why");
  if (libxl_done_ && !closing_) throw Error("libxl ended the restore of guest " + name_ + " early");
}

void XenRestore::enqueue(Work work, std::size_t bytes) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    return queued_bytes_ == 0 || queued_bytes_ + bytes <= kQueuedBytesMax || failed_ || libxl_done_;
  });
  check_alive();
  queued_bytes_ += bytes;
  if (std::holds_alternative<replica::CommittedEpoch>(work)) ++queued_epochs_;
  queue_.emplace_back(std::move(work), bytes);
  changed_.notify_all();
}

void XenRestore::load(wire::Message message, Gfn gfn_count) {
  const std::size_t pages = wire::check_pages(message, gfn_count);
  const std::size_t bytes = std::max(pages * kPageBytes, message.payload.size());
  enqueue(Load{std::move(message), gfn_count}, bytes);
}

void XenRestore::apply(replica::CommittedEpoch epoch) {
  const std::size_t bytes = epoch.bytes();
  addresses_ = epoch.state.addresses;
  enqueue(std::move(epoch), bytes);
}

std::uint64_t XenRestore::queued_epochs() const {
  const std::lock_guard lock(mutex_);
  return queued_epochs_;
}

void XenRestore::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return (queue_.empty() && !feeding_) || failed_ || libxl_done_; });
  check_alive();
}

void XenRestore::feed() {
  for (;;) {
    std::pair<Work, std::size_t> item;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !queue_.empty() || closing_ || failed_; });
      if (failed_ || queue_.empty()) break;
      item = std::move(queue_.front());
      queue_.pop_front();
      feeding_ = true;
    }
    try {
      std::visit(
          [&](const auto& work) {
            using T = std::decay_t<decltype(work)>;
            if constexpr (std::is_same_v<T, std::vector<std::byte>>) write_all(work);
            if constexpr (std::is_same_v<T, Load>) write_load(work);
            if constexpr (std::is_same_v<T, replica::CommittedEpoch>) write_epoch(work);
            if constexpr (std::is_same_v<T, Barrier>) write_barrier();
          },
          item.first);
    } catch (const Error& error) {
      const std::lock_guard lock(mutex_);
      if (!failed_) failed_ = error.what();
    }
    const std::lock_guard lock(mutex_);
    feeding_ = false;
    queued_bytes_ -= item.second;
    if (std::holds_alternative<replica::CommittedEpoch>(item.first)) --queued_epochs_;
    changed_.notify_all();
  }
  close_pipe();
}

void XenRestore::close_pipe() {
  const std::lock_guard lock(mutex_);
  if (pipe_fd_ >= 0) close(pipe_fd_);
  pipe_fd_ = -1;
}

void XenRestore::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = write(pipe_fd_, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) throw Error(errno_text("libxl no longer takes the state of guest " + name_));
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
}

void XenRestore::write_load(const Load& load) {
  load_arena_.resize(wire::kPagesPerMessageMax * kPageBytes);
  std::vector<replica::Stage::Page> pages;
  pages.reserve(wire::kPagesPerMessageMax);
  wire::PageDecoder decoder(load.gfn_count, 0);
  decoder.decode(load.message, [&](Gfn gfn, const std::byte* page) {
    std::byte* const copy = load_arena_.data() + pages.size() * kPageBytes;
    std::memcpy(copy, page, kPageBytes);
    pages.push_back({gfn, copy});
  });
  write_pages(pages);
}

void XenRestore::write_pages(std::span<const replica::Stage::Page> pages) {
  while (!pages.empty()) {
    const auto batch = pages.first(std::min(kRecordPages, pages.size()));
    pages = pages.subspan(batch.size());
    std::vector<std::uint64_t> pfns;
    pfns.reserve(batch.size());
    for (const auto& page : batch) pfns.push_back(page.gfn);
    stream::Bytes head;
    stream::append_page_data_head(head, pfns, pfns.size());

    std::vector<iovec> parts{{head.data(), head.size()}};
    for (const auto& page : batch) parts.push_back({const_cast<std::byte*>(page.data), kPageBytes});
    std::size_t first = 0;
    while (first < parts.size()) {
      const ssize_t wrote =
          writev(pipe_fd_, parts.data() + first, static_cast<int>(parts.size() - first));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) throw Error(errno_text("libxl no longer takes the memory of guest " + name_));
      auto left = static_cast<std::size_t>(wrote);
      while (first < parts.size() && left >= parts[first].iov_len) left -= parts[first++].iov_len;
      if (left) {
        parts[first].iov_base = static_cast<char*>(parts[first].iov_base) + left;
        parts[first].iov_len -= left;
      }
    }
  }
}

void XenRestore::write_epoch(const replica::CommittedEpoch& epoch) {
  write_pages(epoch.pages.sorted());
  stream::Bytes tail = epoch.state.hypervisor;
  stream::append_record(tail, stream::Libxc::kCheckpoint);
  // libxl's part of the checkpoint.
  if (device_model_) {
    if (!epoch.state.device_model_store.empty())
      stream::append_emulator(tail, stream::Libxl::kEmulatorXenstoreData,
                              epoch.state.device_model_store);
    stream::append_emulator(tail, stream::Libxl::kEmulatorContext, epoch.state.device_model);
  }
  stream::append_record(tail, stream::Libxl::kCheckpointEnd);
  write_all(tail);
}

// Returns when everything before it has been loaded into the domain. libxc loads an epoch's
// pages before it reads the next record, so once it has begun to read this one (the pipe is
// empty) all others are in place. The record says of pfn 0 that it comes without data, which
// changes nothing.
void XenRestore::write_barrier() {
  stream::Bytes record;
  const std::uint64_t pfn = 0;
  stream::append_page_data_head(record, std::span(&pfn, 1), 0);
  write_all(record);
  for (;;) {
    int unread = 0;
    {
      const std::lock_guard lock(mutex_);
      if (failed_ || libxl_done_) return;
    }
    if (ioctl(pipe_fd_, FIONREAD, &unread)) throw Error(errno_text("cannot look into the pipe"));
    if (unread == 0) return;
    std::this_thread::sleep_for(kPipePoll);
  }
}

replica::Comparison XenRestore::compare(const wire::DigestsView& digests) {
  enqueue(Barrier{}, 0);
  drain();
  const auto waiting = domid();
  if (!waiting) throw Error("libxl has not made the domain of guest " + name_ + " yet");

  ForeignMemory memory;
  replica::Comparison result;
  std::vector<xen_pfn_t> pfns;
  std::vector<int> errors;
  for (std::size_t first = 0; first < digests.gfns.size(); first += kRecordPages) {
    const std::size_t count = std::min(kRecordPages, digests.gfns.size() - first);
    pfns.assign(digests.gfns.begin() + static_cast<std::ptrdiff_t>(first),
                digests.gfns.begin() + static_cast<std::ptrdiff_t>(first + count));
    errors.assign(count, 0);
    void* mapped =
        xenforeignmemory_map(memory.get(), *waiting, PROT_READ, count, pfns.data(), errors.data());
    if (!mapped) throw Error(errno_text("cannot map the memory of the waiting domain"));
    for (std::size_t i = 0; i < count; ++i) {
      std::byte digest[wire::kDigestBytes];
      bool same = false;
      if (errors[i] == 0) {
        wire::digest_page(static_cast<const std::byte*>(mapped) + i * kPageBytes, digest);
        same = !std::memcmp(digest, digests.digests.data() + (first + i) * wire::kDigestBytes,
                            wire::kDigestBytes);
      }
      ++result.pages_compared;
      if (same) continue;
      ++result.pages_different;
      if (result.first_different.size() < replica::kFirstDifferentMax)
        result.first_different.push_back(pfns[i]);
    }
    xenforeignmemory_unmap(memory.get(), mapped, count);
  }
  return result;
}

void XenRestore::complete() {
  if (completed_) return;
  const SteadyClock clock;
  const TimePoint begun = clock.now();
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    changed_.notify_all();
  }
  feeder_.join();
  const TimePoint loaded = clock.now();
  libxl_thread_.join();
  const TimePoint created = clock.now();
  {
    const std::lock_guard lock(mutex_);
    check_alive();
  }
  completed_ = true;
  times_.load = loaded - begun;
  times_.create = created - loaded;
}

void XenRestore::activate() {
  complete();
  const SteadyClock clock;
  const TimePoint begun = clock.now();
  activated_ = true;
  if (libxl_domain_unpause(libxl_.get(), domid_, nullptr))
    throw Error("cannot start guest " + name_ + " (domain " + std::to_string(domid_) + ")",
                "it is complete and paused: try `xl unpause " + std::to_string(domid_) + "`");
  times_.unpause = clock.now() - begun;
}

void XenRestore::tidy() noexcept {
  if (libxl_domain_rename(libxl_.get(), domid_, waiting_name(name_).c_str(), name_.c_str()))
    spdlog::warn("domain {} keeps the name {}", domid_, waiting_name(name_));
  try {
    // What its kernel has said when it booted; it does not say it again.
    if (cooperative_)
      Xenstore().write("/local/domain/" + std::to_string(domid_) + "/control/feature-suspend", "1");
  } catch (const Error& error) {
    spdlog::warn("guest {} cannot be protected from here: {}", name_, error.what());
  }
  if (stand_ins_ == 0) return;
  try {
    put_back_vif_bridge(libxl_, domid_, vif_bridge_);
  } catch (const Error& error) {
    spdlog::warn("domain {} keeps the script {}: {}", domid_, vif_bridge_, error.what());
  }
}

void XenRestore::discard() noexcept {
  if (!begun_) return;
  bool done = false;
  {
    const std::lock_guard lock(mutex_);
    if (!failed_) failed_ = "the copy of guest " + name_ + " was discarded";
    closing_ = true;
    done = libxl_done_;
    changed_.notify_all();
  }
  if (!done) libxl_ao_abort(libxl_.get(), &how_);
  join();
  // Whatever libxl left of it: an aborted restore removes its domain, one that was complete
  // does not.
  begun_ = false;
  const auto left = domid();
  if (left && libxl_domain_destroy(libxl_.get(), *left, nullptr))
    spdlog::error("cannot destroy domain {}, the copy of guest {}", *left, name_);
}

}  // namespace specrep::xen
