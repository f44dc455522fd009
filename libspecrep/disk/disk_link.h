#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "libspecrep/disk/journal.h"
#include "libspecrep/disk/record.h"
#include "libspecrep/disk/shared_storage.h"
#include "libspecrep/disk/source.h"
#include "libspecrep/disk/target.h"
#include "libspecrep/wire/link.h"

namespace specrep::disk {

// The primary's end of the link of one disk. run() is called from a thread of its own.
class SourceEnd final : public Sink {
 public:
  // source, link and record must outlive this. `path`: of the disk, as both hosts name it;
  // `record`: of this host's copy, which changes when the backup begins to follow.
  // resync_bytes_per_s: see Source::attach().
  SourceEnd(Source& source, wire::Link& link, std::string path, Record& record, KeepRecord keep,
            Duration silence_max, std::uint64_t resync_bytes_per_s);

  void send(Write write) override;
  void begin_epochs() override;

  // Greets the other end, attaches the source, and serves until the link is lost or stop() is
  // called; then detaches it. Returns why it ended.
  std::string run();

  // From any thread:
  void stop();
  // Whether the other end has said what it needs; before, Source's counts say nothing.
  bool attached() const { return attached_; }

 private:
  void dispatch(const wire::Message& message);
  void note_missing(const wire::Message& ready);

  Source& source_;
  wire::Link& link_;
  const std::string path_;
  Record& record_;
  const KeepRecord keep_;
  const Duration silence_max_;
  const std::uint64_t resync_bytes_per_s_;
  std::optional<StorageMark> mark_;  // until the backup has answered
  std::atomic<bool> attached_ = false;
  std::atomic<bool> over_ = false;
};

// From a message. Throws ProtocolError.
Generation generation_from(const std::string& bytes);

// What the backup has to send for, as both sides' records say.
enum class Need {
  kMarked,  // what either side has marked
  kAll,
};
// `here`: the backup's, if any. Throws Error when its copy must not be overwritten; the path is for
// that.
Need compare(const std::string& path, const Record& primary, const std::optional<Record>& here);

// The backup's end: keeps this host's copy. run() is called from a thread of its own; all else may
// be from others.
class TargetEnd {
 public:
  // Opens the disk. `path`: as for SourceEnd. durable: a write is held when it is on this host's
  // stable storage. `changed` is called, from any thread, when held() may have grown or failure()
  // has come; it may wake somebody, and must not call this object, which waits for it. link must
  // outlive this. Throws Error.
  TargetEnd(std::string path, wire::Link& link, std::size_t staging_bytes_max, bool durable,
            std::function<void()> changed);

  // Serves until the link is lost, which is no failure by itself (what is held is held), or stop()
  // is called.
  void run();
  void stop();

  std::uint64_t held() const;
  // Why this copy cannot be used.
  std::optional<std::string> failure() const;
  // See Target. The first one says, too, that all that was missing has been sent.
  void commit(std::uint64_t number);
  // See Target. The disk is this host's own then, and may be served.
  std::uint64_t activate();
  // See Target. After activate(): the disk, from which no guest has run, follows the primary's
  // again.
  void settle();

 private:
  void greet(const wire::Message& message);
  void dispatch(wire::Message message);
  void sync_journal();
  void report();
  void complete();

  const std::string path_;
  const Places places_;
  wire::Link& link_;
  const bool durable_;
  const std::function<void()> changed_;
  std::atomic<bool> over_ = false;
  mutable std::mutex mutex_;
  std::unique_ptr<Backing> backing_;
  std::optional<Record> record_;  // of this copy, once greeted
  Record primary_;
  std::optional<std::string> failure_;
  std::uint64_t told_held_ = 0, told_durable_ = 0;
  std::optional<std::uint64_t> complete_at_;  // when this is on stable storage, the copy is whole
  std::optional<Target> target_;
  std::optional<Journal> journal_;  // once epochs have begun, and of run()'s thread alone
  std::uint64_t held_ = 0;
};

}  // namespace specrep::disk
