#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/disk/epoch_disks.h"
#include "libspecrep/epoch/costs.h"
#include "libspecrep/epoch/epoch_length.h"
#include "libspecrep/epoch/sampling_schedule.h"
#include "libspecrep/guest/guest.h"
#include "libspecrep/model/policy.h"
#include "libspecrep/output/output_buffer.h"
#include "libspecrep/wire/link.h"
#include "libspecrep/wire/page_codec.h"

namespace specrep::epoch {

struct PrimaryOptions {
  std::string guest_name{};
  std::vector<std::byte> guest_uuid{};  // 16 bytes
  wire::GuestKind guest_kind = wire::GUEST_KIND_UNSPECIFIED;
  std::string domain_config_json{};

  EpochTarget epoch{};
  model::PolicyOptions policy{};
  // For PolicyKind::kClairvoyant, else unused; must outlive the engine.
  const model::Oracle* oracle = nullptr;
  // The backup is given up when nothing, heartbeats included, came from it for this long.
  Duration heartbeat_timeout = std::chrono::milliseconds(1000);
  // Pages that primary and backup each keep as they were last sent, so that a change to one is
  // sent as a difference (64 MiB). 0: none.
  std::uint32_t delta_cache_pages = 16384;
  bool compress = true;  // false: pages go as they are, but for those that are zero
  // Compare all memory at every n-th epoch; 0: never.
  unsigned verify_every = 0;
  // Whether the backup knows HandOver.
  bool can_hand_over = false;
};

// The backup did not answer for the timeout, or the link closed.
class BackupLost : public Error {
 public:
  using Error::Error;
};

// One checkpoint, as measured on the primary.
struct EpochReport {
  Epoch epoch = 0;
  // Bytes are those queued on the link, headers included.
  std::uint64_t residual_pages = 0;  // captured while the guest was stopped
  std::uint64_t residual_bytes = 0;
  std::uint64_t speculative_pages = 0;  // sent while it ran; versions, wasted ones included
  std::uint64_t speculative_bytes = 0;
  std::uint64_t wasted_pages = 0;  // of these, versions that were written again
  std::uint64_t wasted_bytes = 0;  // payload only
  std::uint64_t state_bytes = 0;   // what is not memory
  std::uint64_t wire_bytes() const { return residual_bytes + speculative_bytes + state_bytes; }
  wire::CodecCounters codecs;       // of all pages of this epoch
  std::uint64_t written_pages = 0;  // dirtied in the epoch, each counted once
  unsigned samples = 0;             // while the guest ran
  Duration sampling{};              // what these took
  Duration length{};                // how long the guest had run before it was stopped
  Duration suspend{};               // from asking it to stop until it stood still
  Duration capture_memory{};        // dirty log and residual
  Duration capture_state{};
  Duration resume{};
  Duration verify{};  // digests of all memory, only with --verify
  Duration paused() const { return suspend + capture_memory + capture_state + resume + verify; }
};

// What the engine tells about its progress. Called on the engine's thread; must not block.
class PrimaryObserver {
 public:
  virtual ~PrimaryObserver() = default;
  virtual void on_first_copy(unsigned round, std::uint64_t pages_done, std::uint64_t pages_total,
                             std::uint64_t wire_bytes) = 0;
  // The first copy waits for the disks.
  virtual void on_disk_copy(std::uint64_t missing_bytes) = 0;
  virtual void on_checkpoint(const EpochReport& report) = 0;
  // `lag`: from the guest's resumption until the commit came in.
  virtual void on_commit(const wire::Commit& commit, Duration lag) = 0;
  virtual void on_verified(const wire::Verified& result, std::uint64_t pages_left_out) = 0;
  // The backup has all, and is about to be told to take the guest over: from now on this side must
  // not go on by itself. stopped: how long the guest has stood still.
  virtual void on_hand_over(Duration /*stopped*/) {}
  // The guest was not handed over; it runs on here, protected as before.
  virtual void on_hand_over_failed(const Error& /*why*/) {}
};

// The primary's half of protection: copies the guest's memory to the backup once, then runs it
// in epochs.
//
// An epoch: the guest runs; at the schedule's times the dirty log is sampled, and the policy says
// which of the pages dirtied so far are sent at once; at the end the guest is stopped, the log is
// sampled a last time, the residual (every page whose newest version was not sent) is copied
// aside together with the state that is not memory, and the guest runs on. Only then is the copy
// encoded and queued for the network. The backup stages it all and answers the Checkpoint message
// with a Commit.
//
// A page that is sent while the guest runs was cleaned in the log before it is read: if it is
// written while or after it is copied, the next sample has it, and it is sent again, in the
// residual at the latest. So a wrong guess costs bytes, and never a wrong page.
//
// At most kEpochsInFlightMax epochs wait for their Commit; until there is room the running
// epoch goes on. So a slow backup makes epochs longer, and memory stays bounded.
//
// What the guest sends in an epoch leaves when that epoch's Commit has come, and no earlier: the
// output buffer is told of both. An epoch ends early when its output fills the buffer, or its disk
// writes the backup's memory for them.
//
// A planned switchover is one more epoch, after whose checkpoint the guest is not resumed. When
// that is committed, what the guest has sent is all out, and the backup is told to take it over. If
// anything fails, even after that, the guest is resumed here; its output then stays held until its
// owner knows what became of the copy.
//
// The caller owns the thread: it calls step(), waits on the link until the time that step()
// returned, hands the event to handle(), and so on until ended(). step() and handle() throw
// BackupLost or Error when protection has to end; the destructor then leaves the guest running
// with its dirty log off. In all cases the guest itself is unharmed.
class PrimaryEngine {
 public:
  static constexpr std::size_t kEpochsInFlightMax = 2;
  // How full the output buffer, and the backup's memory for disk writes, may get before the epoch
  // is ended.
  static constexpr double kFillMax = 0.5;

  // Guest, link, output buffer, disks, clock and observer must outlive the engine, which never
  // opens the buffer: that is for its owner, who knows what became of the backup's copy.
  PrimaryEngine(guest::Guest& guest, wire::Link& link, output::OutputBuffer& output,
                disk::EpochDisks& disks, const Clock& clock, PrimaryOptions options,
                PrimaryObserver& observer);
  ~PrimaryEngine();
  PrimaryEngine(const PrimaryEngine&) = delete;
  PrimaryEngine& operator=(const PrimaryEngine&) = delete;

  // Does what is due. Returns when it wants to be called again at the latest.
  TimePoint step();
  void handle(const wire::Link::Event& event);

  // Ends protection in order: the guest runs on, the backup discards its copy.
  // Not any more when the backup has been told to take the guest over.
  void request_stop(const std::string& reason);

  // Ends the running epoch, and protection, by a planned switchover.
  void request_hand_over();
  // Whether that is under way, or done.
  bool is_handing_over() const { return hand_over_wanted_; }

  bool ended() const { return phase_ == Phase::kEnded; }
  // The backup has taken the guest over: the copy here stands still, and must never run again.
  bool handed_over() const { return handed_over_; }
  // Why the guest is gone, when it ended by itself.
  const std::optional<std::string>& guest_ended() const { return guest_ended_; }
  // Whether the backup may have a copy that it would activate: it was sent a checkpoint, and has
  // not confirmed that it has discarded what it had.
  bool copy_may_exist() const { return epoch_ > 1 && !stop_confirmed_; }
  bool in_epochs() const { return phase_ == Phase::kEpochs; }
  Epoch committed() const { return committed_; }

 private:
  // kLastCommit: the guest stands still until its last epoch is committed.
  // kHandOver: it still does, until the backup has said whether it takes it over.
  enum class Phase { kStart, kFirstCopy, kEpochs, kLastCommit, kHandOver, kStopping, kEnded };
  struct InFlight {
    Epoch epoch;
    TimePoint resumed;
  };

  TimePoint advance();
  void take(const wire::Link::Event& event);
  void begin();
  TimePoint step_first_copy();
  TimePoint step_epoch();
  void begin_round();
  void begin_epoch();
  void schedule_epoch();
  struct Sampled {
    Duration took;
    std::uint64_t refaults;  // see Costs::sampled()
  };
  Sampled sample();
  void speculate(model::Slot slot);
  bool is_filling(TimePoint now);
  void checkpoint();
  void send_residual(EpochReport report, guest::State state,
                     const std::vector<std::uint64_t>& disk_marks);
  // Returns the bytes queued, and adds to `counters`. `sizes`, if any, is set to the payload
  // bytes of each page.
  std::uint64_t send_pages(Epoch epoch, const std::vector<Gfn>& gfns, const std::byte* data,
                           wire::PageEncoder& encoder, wire::CodecCounters& counters,
                           std::vector<std::uint32_t>* sizes = nullptr);
  std::vector<wire::Message> digest_memory(Epoch epoch);
  void commit(const wire::Commit& commit);
  void verified(const wire::Verified& result);
  void hand_over();
  void answer_to_hand_over(const wire::Outcome& outcome);
  void let_run();
  void stop_protocol(const std::string& reason);
  std::uint64_t send(wire::Message message);
  // Drops from gfns, and closes up in data, the pages that are not present.
  static void drop_absent(std::vector<Gfn>& gfns, std::byte* data,
                          const std::vector<std::uint8_t>& present);
  // Copies the pages of gfns into arena_; gfns then holds those that exist.
  void copy_aside(std::vector<Gfn>& gfns);

  guest::Guest& guest_;
  wire::Link& link_;
  output::OutputBuffer& output_;
  disk::EpochDisks& disks_;
  const Clock& clock_;
  const PrimaryOptions options_;
  PrimaryObserver& observer_;

  Phase phase_ = Phase::kStart;
  std::optional<std::string> guest_ended_;
  bool logging_dirty_ = false;
  bool stop_confirmed_ = false;

  // The first copy: the pages of this round, and how far it has come.
  unsigned round_ = 0;
  std::vector<Gfn> round_gfns_;
  std::size_t round_done_ = 0;
  std::uint64_t first_copy_bytes_ = 0;

  // The first copy has its own, without a cache: see page_codec.h.
  wire::PageEncoder first_copy_encoder_, encoder_;

  PageBitmap present_;  // every gfn that ever had a page; what --verify compares
  PageBitmap sampled_;  // the newest sample, and the pages in it
  std::vector<Gfn> written_;
  // Pages dirtied in the running epoch (or since the last round) whose newest version was not
  // sent: as a set, and ascending.
  PageBitmap is_unsent_;
  std::vector<Gfn> unsent_;
  // Pages whose newest known version was sent in the running epoch, with its bytes.
  std::unordered_map<Gfn, std::uint32_t> sent_;
  std::vector<Gfn> chosen_, merged_;
  std::vector<Gfn> residual_;
  std::vector<std::uint8_t> present_flags_;
  // Where pages are copied aside. Kept between epochs, so that a checkpoint touches memory that
  // the kernel has already given us.
  std::vector<std::byte> arena_;

  Epoch epoch_ = 0;
  EpochReport report_;  // of the running epoch
  EpochLength epoch_length_;
  SamplingSchedule schedule_;
  Duration last_length_{};
  bool overdue_ = false;  // the epoch should have ended, but too many are in flight
  Costs costs_;
  std::unique_ptr<model::Policy> policy_;
  std::uint64_t queued_ever_ = 0;  // bytes
  TimePoint epoch_start_, fill_looked_at_{};
  std::deque<InFlight> in_flight_;
  Epoch committed_ = 0;
  // That the backup was asked for and has not made yet, oldest first.
  struct Comparison {
    Epoch epoch;
    std::uint64_t pages_left_out;
  };
  std::deque<Comparison> comparisons_;
  bool hand_over_wanted_ = false, handed_over_ = false;
  std::optional<TimePoint> standing_since_;  // the guest, after its last checkpoint
  TimePoint deadline_;                       // of the phases that have one
};

}  // namespace specrep::epoch
