#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "libspecrep/disk/record.h"
#include "libspecrep/disk/source.h"
#include "libspecrep/disk/target.h"
#include "libspecrep/wire/link.h"

namespace specrep::disk {

// The primary's end of the link of one disk. run() is called from a thread of its own.
class SourceEnd final : public Sink {
 public:
  // source and link must outlive this. `path`: of the disk, as both hosts name it; `record`: of
  // this host's copy. resync_bytes_per_s: see Source::attach().
  SourceEnd(Source& source, wire::Link& link, std::string path, const Record& record,
            Duration silence_max, std::uint64_t resync_bytes_per_s);

  void send(Write write) override;

  // Greets the other end, attaches the source, and serves until the link is lost or stop() is
  // called; then detaches it. Returns why it ended.
  std::string run();

  // From any thread:
  void stop();
  // Whether the other end has said what it needs; before, Source's counts say nothing.
  bool attached() const { return attached_; }

 private:
  void dispatch(const wire::Message& message);

  Source& source_;
  wire::Link& link_;
  const std::string path_;
  const Record record_;
  const Duration silence_max_;
  const std::uint64_t resync_bytes_per_s_;
  std::atomic<bool> attached_ = false;
  std::atomic<bool> over_ = false;
};

// The backup's end. run() is called from a thread of its own; all else may be from others.
class TargetEnd {
 public:
  // `changed` is called, from any thread, when held() may have grown or failure() has come; it may
  // wake somebody, and must not call this object, which waits for it. All must outlive this.
  TargetEnd(Backing& backing, wire::Link& link, const Identity& identity,
            std::size_t staging_bytes_max, std::function<void()> changed);

  // Serves until the link is lost, which is no failure by itself: what is held is held.
  void run();

  std::uint64_t held() const;
  // Why this copy cannot be used.
  std::optional<std::string> failure() const;
  // See Target.
  void commit(std::uint64_t number);
  std::uint64_t activate();
  void settle();

 private:
  void greet(const wire::Message& message);
  void dispatch(wire::Message message);
  void report();

  Backing& backing_;
  wire::Link& link_;
  const Identity identity_;
  const std::function<void()> changed_;
  mutable std::mutex mutex_;
  bool greeted_ = false;
  std::optional<std::string> failure_;
  std::uint64_t told_held_ = 0, told_durable_ = 0;
  Target target_;
};

}  // namespace specrep::disk
