// Who goes on, row by row as in doc/failures.md.

#include <boost/test/unit_test.hpp>

#include "libspecrep/arbiter/settlement.h"

namespace specrep {
namespace {

using namespace std::chrono_literals;
using Primary = PrimarySettlement;
using Backup = BackupSettlement;

constexpr TimePoint kNow{1h};
constexpr TieBreak kArbiter{.has_arbiter = true}, kPrimaryYields{},
    kBackupYields{.backup_yields = true};

Primary::Step after(TieBreak tie_break, Primary::Copy copy) {
  Primary primary(tie_break);
  BOOST_TEST((primary.step(kNow) == Primary::Step::kHearBackup));
  primary.backup_said(copy);
  return primary.step(kNow);
}

BOOST_AUTO_TEST_SUITE(settlement)

BOOST_AUTO_TEST_CASE(the_backups_word_decides_whoever_else_could) {
  for (const TieBreak tie_break : {kArbiter, kPrimaryYields, kBackupYields}) {
    BOOST_TEST((after(tie_break, Primary::Copy::kDiscarded) == Primary::Step::kGoOn));
    BOOST_TEST((after(tie_break, Primary::Copy::kActivated) == Primary::Step::kGiveUp));
  }
}

BOOST_AUTO_TEST_CASE(without_a_word_one_side_goes_on_at_most) {
  BOOST_TEST((after(kArbiter, Primary::Copy::kUnknown) == Primary::Step::kAskArbiter));
  BOOST_TEST((after(kPrimaryYields, Primary::Copy::kUnknown) == Primary::Step::kHold));
  BOOST_TEST((after(kBackupYields, Primary::Copy::kUnknown) == Primary::Step::kGoOn));
  BOOST_TEST((Backup(kArbiter).step(kNow) == Backup::Step::kAskArbiter));
  BOOST_TEST((Backup(kPrimaryYields).step(kNow) == Backup::Step::kActivate));
  BOOST_TEST((Backup(kBackupYields).step(kNow) == Backup::Step::kWait));
  BOOST_TEST((Primary(kArbiter).hear_backup_max() == 1s));
  BOOST_TEST((Primary(kPrimaryYields).hear_backup_max() == 10s));
}

BOOST_AUTO_TEST_CASE(an_arbiter_that_is_silent_is_asked_again_after_a_while) {
  Primary primary(kArbiter);
  primary.backup_said(Primary::Copy::kUnknown);
  primary.arbiter_silent(kNow);
  BOOST_TEST((primary.step(kNow + 499ms) == Primary::Step::kWait));
  BOOST_TEST((primary.step(primary.due()) == Primary::Step::kAskArbiter));
  Backup backup(kArbiter);
  backup.arbiter_silent(kNow);
  BOOST_TEST((backup.step(kNow + 499ms) == Backup::Step::kWait));
  BOOST_TEST((backup.step(backup.due()) == Backup::Step::kAskArbiter));
}

BOOST_AUTO_TEST_CASE(what_the_arbiter_says_is_final) {
  for (const bool granted : {false, true}) {
    Primary primary(kArbiter);
    primary.arbiter_said(!granted);  // of nobody asked
    primary.backup_said(Primary::Copy::kUnknown);
    primary.arbiter_said(granted);
    primary.interrupted();
    primary.backup_said(Primary::Copy::kDiscarded);
    BOOST_TEST((primary.step(kNow) == (granted ? Primary::Step::kGoOn : Primary::Step::kGiveUp)));
    Backup backup(kArbiter);
    backup.arbiter_said(granted);
    backup.stand_down("too late");
    BOOST_TEST((backup.step(kNow) == (granted ? Backup::Step::kActivate : Backup::Step::kDiscard)));
    BOOST_TEST(backup.reason() != "too late");
  }
}

BOOST_AUTO_TEST_CASE(a_word_of_the_guardian_ends_the_wait_and_never_an_activation) {
  for (const TieBreak tie_break : {kArbiter, kBackupYields}) {
    Backup backup(tie_break);
    backup.stand_down("it lives");
    BOOST_TEST((backup.step(kNow) == Backup::Step::kDiscard));
    BOOST_TEST(backup.reason() == "it lives");
    backup.arbiter_said(true);
    BOOST_TEST((backup.step(kNow) == Backup::Step::kDiscard));
  }
  Backup backup(kPrimaryYields);
  backup.stand_down("too late");
  BOOST_TEST((backup.step(kNow) == Backup::Step::kActivate));
}

BOOST_AUTO_TEST_CASE(an_operator_starts_a_copy_that_waits_and_none_that_is_discarded) {
  for (const TieBreak tie_break : {kArbiter, kBackupYields}) {
    Backup backup(tie_break);
    BOOST_TEST((backup.step(kNow) != Backup::Step::kActivate));
    backup.operator_said();
    backup.stand_down("too late");
    BOOST_TEST((backup.step(kNow) == Backup::Step::kActivate));
    Backup discarded(tie_break);
    discarded.stand_down("it lives");
    discarded.operator_said();
    BOOST_TEST((discarded.step(kNow) == Backup::Step::kDiscard));
  }
}

BOOST_AUTO_TEST_CASE(an_operator_who_does_not_wait_for_the_arbiter_leaves_the_guest_held) {
  Primary primary(kArbiter);
  primary.interrupted();
  BOOST_TEST((primary.step(kNow) == Primary::Step::kHearBackup));
  primary.backup_said(Primary::Copy::kUnknown);
  primary.interrupted();
  BOOST_TEST((primary.step(kNow) == Primary::Step::kHold));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace specrep
