#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>

#include "libspecrep/clock.h"
#include "libspecrep/replica/restorer.h"
#include "libspecrep/xen/domain_config.h"

namespace specrep::xen {

// The waiting domain on the backup, through libxl_domain_create_restore() of a checkpointed
// (Remus) stream: libxl reads from a pipe what this class writes into it, builds the domain
// while the primary still runs, and loads each committed epoch into its memory. When the pipe
// is closed, libxl finishes the domain from the last epoch that was complete.
//
// Two threads stand behind it. The libxl thread lives in the restore operation. The feeder
// writes queued work into the pipe in order, so that the caller is not held up by the speed at
// which libxl loads pages; the queue is bounded by kQueuedBytesMax.
//
// libxc keeps records back until the next CHECKPOINT and only then loads them, so a closed pipe
// never leaves half an epoch in memory.
class XenRestore final : public replica::Restorer {
 public:
  // The domain's name while it waits: NAME--incoming, as `xl migrate` has it.
  static std::string waiting_name(const std::string& name) { return name + "--incoming"; }

  // vif_bridge: the program that stands in for Xen's script (libspecrep/xen/vif_bridge.h).
  explicit XenRestore(std::string vif_bridge);
  ~XenRestore() override;  // discards, unless activated

  void begin(const wire::Start& start, std::vector<std::byte> prologue) override;
  void load(wire::Message message, Gfn gfn_count) override;
  void apply(replica::CommittedEpoch epoch) override;
  replica::Comparison compare(const wire::DigestsView& digests) override;
  std::uint64_t queued_epochs() const override;
  // All that activate() has to do but for letting the domain run: it can still be discarded.
  void complete();
  void activate() override;
  void discard() noexcept override;

  // What an activated guest need not wait for: its own name, and those of its scripts.
  void tidy() noexcept;

  // The waiting, later the activated domain; nothing before libxl has made it.
  std::optional<std::uint32_t> domid() const;

  // The guest's, as libxl completed it; after activate().
  const DomainConfig& config() const { return config_; }

  // Those of the newest epoch that was applied.
  const std::vector<guest::CardAddress>& addresses() const { return addresses_; }

  // How the time of activate() was spent.
  struct ActivationTimes {
    Duration load{};    // epochs that were committed but not yet loaded
    Duration create{};  // libxl: vCPU state, device model, devices with their hotplug scripts
    Duration unpause{};
  };
  const ActivationTimes& activation_times() const { return times_; }

 private:
  struct Load {
    wire::Message message;
    Gfn gfn_count;
  };
  struct Barrier {};
  using Work = std::variant<std::vector<std::byte>, Load, replica::CommittedEpoch, Barrier>;

  void enqueue(Work work, std::size_t bytes);
  void drain();  // until all queued work is written, or throws why it cannot be
  void feed();
  void write_all(std::span<const std::byte> bytes);
  void write_load(const Load& load);
  void write_epoch(const replica::CommittedEpoch& epoch);
  void write_pages(std::span<const replica::Stage::Page> pages);
  void write_barrier();
  void close_pipe();
  void run_libxl(int read_fd);
  void check_alive() const;  // mutex_ held
  void join();

  Libxl libxl_;
  const std::string vif_bridge_;
  unsigned stand_ins_ = 0;  // cards for which libxl was told to run that
  std::string name_;
  std::vector<guest::CardAddress> addresses_;
  DomainConfig config_;  // the libxl thread's while that runs
  bool device_model_ = false, cooperative_ = false;
  int pipe_fd_ = -1;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<Work, std::size_t>> queue_;
  std::size_t queued_bytes_ = 0;
  std::uint64_t queued_epochs_ = 0;
  bool feeding_ = false;               // the feeder is at work on what it took from the queue
  bool closing_ = false;               // no more work will come
  std::optional<std::string> failed_;  // why the copy is lost
  bool libxl_done_ = false;
  std::uint32_t domid_;
  libxl_asyncop_how how_{};

  std::vector<std::byte> load_arena_;  // the feeder's, for pages of the first copy

  std::thread feeder_;
  std::thread libxl_thread_;
  bool begun_ = false;
  bool completed_ = false;
  bool activated_ = false;
  ActivationTimes times_;
};

}  // namespace specrep::xen
