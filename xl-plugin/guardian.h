#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "libspecrep/arbiter/arbiter.h"
#include "libspecrep/arbiter/settlement.h"
#include "libspecrep/xen/domain.h"
#include "tools/event_log.h"
#include "xl-plugin/console.h"
#include "xl-plugin/far_side.h"
#include "xl-plugin/process.h"

namespace specrep::xl {

// Watches over one protection from its start to its end.
//
// specrep-primary does the work, in a process of its own, so that something is left when it dies:
// a guest that it had stopped must run again, and the backup, which sees only that the data link
// closed, must not activate its copy beside it. The guardian tells the backup to stand down, lets
// the guest run, and says in one sentence what became of it. It also turns Ctrl-C into an orderly
// stop.
//
// When the guardian itself dies, specrep-primary gets a signal from the kernel and stops in order;
// when the host dies nobody is left to say anything, and the backup activates.
class Guardian {
 public:
  struct Task {
    xen::Domain domain;
    std::string host;              // as the operator named it; empty: no backup (-b)
    nlohmann::json configuration;  // for specrep-primary
    int epoch_ms;
    std::string netbuf_script;
    // Who decides when the two hosts have lost each other; null: nobody, then one side yields,
    // or both.
    // Must outlive the guardian.
    Arbiter* arbiter;
    std::uint64_t fencing_generation;
    bool primary_yields;
  };
  // far_side: null without a backup. Both must outlive the guardian.
  Guardian(Task task, FarSide* far_side, SignalFd& signals, Console& console);

  // Starts specrep-primary and returns the exit status of the command when all is over.
  int run();

 private:
  void wait_for_something();
  void read_events();
  void on_event(const nlohmann::json& event);
  void log(const char* event, const std::string& what);
  void on_progress(const nlohmann::json& event);
  void start_monitor();
  void read_far_side();
  void check_deadlines();
  void begin_stop(const std::string& reason);
  int conclude(int status);
  int conclude_in_order();
  int conclude_after_death(const std::string& how);
  // Makes the guest of a dead specrep-primary run; freeze_max: xen::recover_guest().
  void recover(std::chrono::milliseconds freeze_max);
  int conclude_hand_over();
  // Finds out which copy of the guest may go on, and acts on it. Says in one sentence how the guest
  // stands then; `advice` is set to what the operator should do, if anything.
  std::string settle(const std::string& reason, std::string& advice);
  std::string go_on(std::string& advice);
  std::string give_up(std::string& advice);
  std::string hold(std::string& advice);
  void ask_arbiter(PrimarySettlement& settlement, std::string& trouble);
  std::string where_guest_stands() const;

  Task task_;
  FarSide* far_side_;
  SignalFd& signals_;
  Console& console_;
  tools::EventLog events_;
  Pipe output_ = make_pipe();
  Pipe settings_ = make_pipe();
  LineReader lines_;
  std::optional<Process> primary_;
  std::optional<nlohmann::json> ended_;
  std::optional<Error> far_failure_;   // what the backup said before it gave up
  bool handing_over_ = false;          // the backup may have been told to take the guest over
  int signal_ = 0;                     // that asked us to stop
  std::string recovered_;              // what recover() has done
  std::optional<Error> left_stopped_;  // why it could not
  std::string stop_reason_;            // not empty: specrep-primary was asked to stop
  using TimePoint = std::chrono::steady_clock::time_point;
  std::optional<TimePoint> far_side_closed_;
  std::optional<TimePoint> kill_at_;
};

}  // namespace specrep::xl
