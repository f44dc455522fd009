#include "libspecrep/arbiter/settlement.h"

namespace specrep {

using namespace std::chrono_literals;

PrimarySettlement::Step PrimarySettlement::step(TimePoint now) {
  return step_ == Step::kAskArbiter && now < due_ ? Step::kWait : step_;
}

Duration PrimarySettlement::hear_backup_max() const { return tie_break_.has_arbiter ? 1s : 10s; }

void PrimarySettlement::backup_said(Copy copy) {
  if (step_ != Step::kHearBackup) return;
  if (copy == Copy::kDiscarded)
    step_ = Step::kGoOn;
  else if (copy == Copy::kActivated)
    step_ = Step::kGiveUp;
  else if (tie_break_.has_arbiter)
    step_ = Step::kAskArbiter;
  else
    step_ = tie_break_.backup_yields ? Step::kGoOn : Step::kHold;
}

void PrimarySettlement::arbiter_said(bool granted) {
  if (step_ == Step::kAskArbiter) step_ = granted ? Step::kGoOn : Step::kGiveUp;
}

void PrimarySettlement::interrupted() {
  if (step_ == Step::kAskArbiter) step_ = Step::kHold;
}

BackupSettlement::BackupSettlement(TieBreak tie_break)
    : step_(tie_break.has_arbiter     ? Step::kAskArbiter
            : tie_break.backup_yields ? Step::kWait
                                      : Step::kActivate) {}

BackupSettlement::Step BackupSettlement::step(TimePoint now) {
  return step_ == Step::kAskArbiter && now < due_ ? Step::kWait : step_;
}

void BackupSettlement::stand_down(const std::string& reason) {
  if (step_ == Step::kActivate || step_ == Step::kDiscard) return;
  step_ = Step::kDiscard;
  reason_ = reason;
}

void BackupSettlement::arbiter_said(bool granted) {
  if (step_ != Step::kAskArbiter) return;
  if (granted)
    step_ = Step::kActivate;
  else
    stand_down("the arbiter has given the guest to the primary");
}

void BackupSettlement::operator_said() {
  if (step_ != Step::kDiscard) step_ = Step::kActivate;
}

}  // namespace specrep
