#pragma once

#include <memory>
#include <optional>
#include <string>

#include "libspecrep/arbiter/settlement.h"
#include "machine.h"

namespace specrep::sim {

// Thrown inside a process that is killed while it calls something outside of itself.
struct Killed {};

// A process of ours: it can be killed, also in the middle of what it does, and stopped for a while.
// What it would still do after its death has no effect.
class Process {
 public:
  virtual ~Process() = default;

  bool is_alive() const { return alive_; }
  // At the `calls`-th call from now on to something outside of it; 0: at once.
  void kill_within(unsigned calls);
  // What kill_within() has begun does not happen any more.
  void spare() { dies_within_.reset(); }
  void pause(bool paused);
  bool is_paused() const { return paused_; }

  // To be called by whatever it uses. Throws Killed.
  void calls_outside();

 protected:
  virtual void on_death() = 0;
  virtual void on_pause(bool paused) = 0;
  void exits() { alive_ = false; }

 private:
  void die();

  bool alive_ = true, paused_ = false;
  std::optional<unsigned> dies_within_;
};

// specrep-primary.
class PrimaryProcess final : public Process {
 public:
  explicit PrimaryProcess(Protection& protection);
  ~PrimaryProcess() override;

  void terminate();  // SIGTERM
  Epoch committed() const { return observer_.committed; }
  bool in_epochs() const { return engine_ && engine_->in_epochs(); }
  void lose_host();

 private:
  class GuestCalls;
  class LinkCalls;
  class OutputCalls;
  class DiskCalls;

  void run();
  void wake_at(TimePoint time);
  void end(bool copy_may_exist, const std::string& why);
  void tell_guardian(std::optional<bool> copy_may_exist);
  void on_death() override;
  void on_pause(bool paused) override;

  Protection& protection_;
  std::unique_ptr<GuestCalls> guest_;
  std::unique_ptr<LinkCalls> link_;
  std::unique_ptr<OutputCalls> output_;
  std::unique_ptr<disk::EpochDisks> disk_, disks_;
  Observer observer_;
  std::unique_ptr<epoch::PrimaryEngine> engine_;
  bool terminated_ = false;
  std::uint64_t timer_ = 0;  // counts
};

// xl remus-spec, which stays as the guardian of specrep-primary: xl-plugin/guardian.cc, and
// far_side.cc for what it hears from the backup.
class Guardian final : public Process {
 public:
  explicit Guardian(Protection& protection);

  void interrupt();                                        // Ctrl-C
  void primary_ended(std::optional<bool> copy_may_exist);  // nothing: it died
  // It will end protection, since the way to the backup is gone.
  bool is_about_to_stop() const { return far_closed_.has_value(); }
  void lose_host();

 private:
  void run();
  void read_far_side();
  void begin_stop(const std::string& reason);
  void stand_down();
  void settle();
  void finish();
  std::optional<PrimarySettlement::Copy> outcome() const;
  void on_death() override;
  void on_pause(bool paused) override;
  TimePoint now() const;
  void wake_after(Duration wait);

  Protection& protection_;
  std::optional<PrimarySettlement> settlement_;
  std::optional<bool> far_copy_discarded_;  // as the backup has said, for good
  std::optional<std::string> far_closed_;
  TimePoint far_closed_at_{}, hears_until_{}, kill_at_{};
  bool ended_without_copy_ = false, stopping_ = false, stood_down_ = false;
  std::optional<std::optional<bool>> ended_;  // specrep-primary: see primary_ended()
  bool interrupted_ = false;
};

// specrep-backup.
class BackupProcess final : public Process {
 public:
  explicit BackupProcess(Protection& protection);
  ~BackupProcess() override;

  void terminate();  // SIGTERM
  void lose_host();
  bool is_activating() const { return activating_; }
  // It holds a whole epoch, and nothing has been decided.
  bool guards() const;
  // The primary is lost for it, and it does not know yet whether it may start its copy.
  bool waits() const { return settlement_.has_value() && !activating_; }

 private:
  class RestorerCalls;
  class LinkCalls;
  class CopiesCalls;

  void run();
  void take_over();
  void activate();
  void discard(const std::string& why, bool failed);
  void hear_guardian();
  void say(wire::Message message);
  void wake_at(TimePoint time);
  void on_death() override;
  void on_pause(bool paused) override;

  Protection& protection_;
  Restorer restorer_;
  std::unique_ptr<RestorerCalls> calls_;
  std::unique_ptr<LinkCalls> link_;
  std::unique_ptr<DiskCopy> disk_;
  std::unique_ptr<replica::DiskCopies> copies_;
  std::unique_ptr<replica::Replica> replica_;
  std::optional<BackupSettlement> settlement_;
  std::optional<std::string> stand_down_;
  bool terminated_ = false, activating_ = false;
  std::uint64_t timer_ = 0;
};

// One protection, from `xl remus-spec` to its end: its processes on both hosts, and what they
// agreed on. xl remus-spec-receive has no more to do than to be alive or not.
class Protection {
 public:
  Protection(World& world, Machine& machine, std::uint64_t fencing_generation);
  ~Protection();

  TieBreak tie_break() const { return {world.settings.has_arbiter, world.settings.backup_yields}; }
  // How the session of ssh ends for the guardian: status of xl remus-spec-receive, 255 of ssh.
  void backup_exited(int status);
  void host_lost(Host& host);
  // Nothing will happen any more unless somebody does something.
  bool is_settled() const;
  std::string claimant(const Host& host) const { return host.name; }
  Storage& storage(const Host& host) {
    return *world.storages[static_cast<std::size_t>(host.number)];
  }
  // Both sides are well: the backup has an epoch, and the primary sends more.
  bool protects() const;
  void note_harm() { harmed = true; }

  World& world;
  Machine& machine;
  Host& primary_host;
  Host& backup_host;
  const std::uint64_t fencing_generation;
  std::size_t number = 0;  // as the oracle counts those of `machine`
  const std::string guest_uuid = "11111111-2222-3333-4444-555555555555";
  std::shared_ptr<Connection> data, control, disk_data;
  bool receiver_alive = true;
  // The backup's side was hurt, or the protection was ended: it need not take over.
  bool harmed = false;
  std::unique_ptr<BackupProcess> backup;
  std::unique_ptr<PrimaryProcess> primary;
  std::unique_ptr<Guardian> guardian;
};

}  // namespace specrep::sim
