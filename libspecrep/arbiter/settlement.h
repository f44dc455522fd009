#pragma once

#include <string>

#include "libspecrep/clock.h"

namespace specrep {

// Which copy of a guest goes on when primary and backup have lost each other: the rules of
// doc/failures.md, of which each side has its half here. These only decide. Whoever owns one does
// what step() says, tells it what came of that, and asks again, until the answer is final. A final
// answer is never taken back.

// What both sides agreed on when protection started.
struct TieBreak {
  bool has_arbiter = false;
  // Without an arbiter: which side stands still. false: the primary's. Where both do, each half is
  // told that its own does; so is the primary's when the backup may have been told to take over.
  bool backup_yields = false;
};

// After an arbiter that gave no answer.
inline constexpr Duration kAskArbiterAgain = std::chrono::milliseconds(500);

// The primary's half, for its guardian. What the guest sends stays held meanwhile.
class PrimarySettlement {
 public:
  enum class Step {
    kHearBackup,  // wait for its word, at most hear_backup_max(): backup_said()
    kAskArbiter,  // arbiter_said() or arbiter_silent()
    kWait,        // until due()
    kGoOn,        // final: the guest runs on here, alone
    kGiveUp,      // final: the copy here is ended, since the other runs
    kHold,        // final: nobody knows; the copy here stands still until the operator speaks
  };
  // What became of the backup's copy, for good.
  enum class Copy { kDiscarded, kActivated, kUnknown };

  explicit PrimarySettlement(TieBreak tie_break) : tie_break_(tie_break) {}

  Step step(TimePoint now);
  TimePoint due() const { return due_; }
  // For the backup to destroy its copy; shorter where an arbiter can be asked instead.
  Duration hear_backup_max() const;

  // kUnknown: it has said nothing for hear_backup_max(), or cannot any more.
  void backup_said(Copy copy);
  void arbiter_said(bool granted);
  void arbiter_silent(TimePoint now) { due_ = now + kAskArbiterAgain; }
  // The operator does not want to wait for the arbiter.
  void interrupted();

 private:
  const TieBreak tie_break_;
  Step step_ = Step::kHearBackup;
  TimePoint due_{};
};

// The backup's half, once the primary counts as lost.
class BackupSettlement {
 public:
  enum class Step {
    kAskArbiter,  // arbiter_said() or arbiter_silent()
    kWait,        // for a word of the primary's guardian; until due() if there is an arbiter
    kActivate,    // final: the guest runs here
    kDiscard,     // final: the copy here will never run
  };

  explicit BackupSettlement(TieBreak tie_break);

  Step step(TimePoint now);
  TimePoint due() const { return due_; }
  // Why it is kDiscard.
  const std::string& reason() const { return reason_; }

  // The guest lives on at the primary, or the copy is not wanted any more. Too late after
  // kActivate.
  void stand_down(const std::string& reason);
  void arbiter_said(bool granted);
  void arbiter_silent(TimePoint now) { due_ = now + kAskArbiterAgain; }
  // The guest does not run at the primary, and never will.
  void operator_said();

 private:
  Step step_;
  TimePoint due_{};
  std::string reason_;
};

}  // namespace specrep
