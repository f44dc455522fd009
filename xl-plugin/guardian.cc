#include "xl-plugin/guardian.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "libspecrep/guest/page.h"
#include "libspecrep/xen/host.h"
#include "libspecrep/xen/network.h"
#include "libspecrep/xen/recover.h"
#include "libspecrep/xen/registry.h"
#include "libspecrep/xen/watchdog.h"
#include "tools/json_fields.h"
#include "xl-plugin/held.h"
#include "xl-plugin/paths.h"

namespace specrep::xl {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// For specrep-primary to stop in order: a suspend in progress is waited for.
constexpr milliseconds kStopMax{30'000};
// After it has said that it has ended.
constexpr milliseconds kExitMax{10'000};
// A backup that dies takes the control channel and the data link with it; specrep-primary, which
// sees the second, gets this long to say so before the loss of the first is acted upon.
constexpr milliseconds kFarSideGrace{3000};
constexpr milliseconds kMonitorStartMax{10'000};
constexpr milliseconds kTick{500};

using tools::count_of;
using tools::text_of;

void write_all(int fd, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    // specrep-primary died: its exit tells more than this would.
    if (n < 0) return;
    done += static_cast<std::size_t>(n);
  }
}

}  // namespace

Guardian::Guardian(Task task, FarSide* far_side, SignalFd& signals, Console& console)
    : task_(std::move(task)),
      far_side_(far_side),
      signals_(signals),
      console_(console),
      events_(task_.domain.name, "primary"),
      lines_(output_.read_end.get()) {}

int Guardian::run() {
  events_.add({{"event", "started"},
               {"peer", task_.host},
               {"domid", task_.domain.domid},
               {"epoch_ms", task_.epoch_ms}});
  Process::Options options;
  // Its log, too, since it must not wait for a terminal.
  options.out = options.err = output_.write_end.get();
  options.three = settings_.read_end.get();
  // It hears of Ctrl-C from us, once.
  options.ignores_interrupts = true;
  primary_.emplace(std::vector<std::string>{program_path("specrep-primary")}, options);
  output_.write_end.reset();
  settings_.read_end.reset();
  write_all(settings_.write_end.get(), task_.configuration.dump());
  settings_.write_end.reset();

  for (;;) {
    wait_for_something();
    read_events();
    if (far_side_) read_far_side();
    if (const int signal = signals_.take()) {
      if (signal_ == 0) signal_ = signal;
      begin_stop("stopped by the operator");
    }
    if (const auto status = primary_->wait(milliseconds(0))) {
      read_events();
      return conclude(*status);
    }
    check_deadlines();
  }
}

void Guardian::wait_for_something() {
  std::vector<pollfd> set;
  if (far_side_) set = far_side_->poll_set();
  set.push_back({signals_.fd(), POLLIN, 0});
  set.push_back({primary_->ended_fd(), POLLIN, 0});
  if (!lines_.at_end()) set.push_back({lines_.fd(), POLLIN, 0});
  poll(set.data(), set.size(), static_cast<int>(kTick.count()));
}

void Guardian::read_events() {
  for (const std::string& line : lines_.read()) {
    const nlohmann::json event = nlohmann::json::parse(line, nullptr, false);
    if (event.is_object()) {
      on_event(event);
    } else {
      console_.relay("specrep-primary", line);
    }
  }
}

void Guardian::on_progress(const nlohmann::json& event) {
  if (text_of(event, "phase") == "disks")
    return console_.copy_progress(
        {"disks", count_of(event, "bytes_done"), count_of(event, "bytes_total")});
  const std::uint64_t round = count_of(event, "round");
  console_.copy_progress(
      {round <= 1 ? "memory" : "what changed (round " + std::to_string(round) + ")",
       count_of(event, "pages_done") * kPageBytes, count_of(event, "pages_total") * kPageBytes});
}

void Guardian::on_event(const nlohmann::json& event) {
  console_.event(event);
  const std::string kind = text_of(event, "event");
  if (kind != "progress") events_.add(event);
  if (kind == "progress") {
    on_progress(event);
  } else if (kind == "protected") {
    start_monitor();
    console_.say(
        task_.domain.name + " is protected by " +
        (task_.host.empty() ? std::string("nobody (-b): its checkpoints go nowhere") : task_.host) +
        " (epoch " + std::to_string(task_.epoch_ms) +
        " ms). Ctrl-C stops protection; the guest runs on.");
  } else if (kind == "verified") {
    const std::uint64_t different = count_of(event, "different");
    const std::string epoch = "epoch " + std::to_string(count_of(event, "epoch"));
    const std::string compared = std::to_string(count_of(event, "compared")) + " pages compared";
    if (different == 0)
      console_.say(epoch + ": " + compared + ", no difference");
    else
      console_.warn(epoch + ": " + compared + ", " + std::to_string(different) +
                        " differ from the guest's memory",
                    "please report this: the backup's copy is not usable");
  } else if (kind == "warning") {
    console_.warn(text_of(event, "what"), text_of(event, "advice"));
  } else if (kind == "handing-over") {
    handing_over_ = true;
    console_.say("handing " + task_.domain.name + " over to " + task_.host + " ...");
  } else if (kind == "hand-over-failed") {
    console_.warn(task_.domain.name + " was not handed over, and runs on here, protected: " +
                      text_of(event, "what"),
                  text_of(event, "advice"));
  } else if (kind == "ended") {
    ended_ = event;
    if (!kill_at_) kill_at_ = Clock::now() + kExitMax;
  }
}

void Guardian::log(const char* event, const std::string& what) {
  events_.add({{"event", event}, {"what", what}});
}

// The process behind `xl create` ended at the first checkpoint, see specrep-monitor.cc.
void Guardian::start_monitor() {
  const std::string domid = std::to_string(task_.domain.domid);
  Process monitor({program_path("specrep-monitor"), domid, task_.domain.name}, {});
  // It goes to the background by itself.
  const auto status = monitor.wait(kMonitorStartMax);
  if (!status || *status != 0)
    console_.warn("nobody stays with " + task_.domain.name + ", as `xl create` does",
                  "when it shuts down, remove it with `xl destroy`");
}

void Guardian::read_far_side() {
  for (const std::string& line : far_side_->take_lines()) console_.relay(task_.host, line);
  if (far_side_->closed()) return;
  for (const wire::Message& message : far_side_->take_messages()) {
    if (message.envelope.has_notice()) console_.relay(task_.host, message.envelope.notice().text());
    if (message.envelope.has_failure())
      far_failure_ = wire::to_error(message.envelope.failure(), task_.host);
  }
  if (far_side_->closed()) far_side_closed_ = Clock::now();
}

void Guardian::check_deadlines() {
  const auto now = Clock::now();
  // Without the control channel the backup could not be kept from activating its copy if
  // specrep-primary died here. So protection ends in order, over the data link. A backup that has
  // discarded its copy closes the channel: there is nothing more to say, and specrep-primary is
  // about to end.
  if (far_side_closed_ && !far_side_->discarded() && now - *far_side_closed_ > kFarSideGrace)
    begin_stop("the control connection to " + task_.host + " was lost");
  if (kill_at_ && now > *kill_at_) {
    console_.warn("specrep-primary does not end; killing it");
    primary_->signal(SIGKILL);
    kill_at_.reset();
  }
}

void Guardian::begin_stop(const std::string& reason) {
  if (!stop_reason_.empty()) return;
  stop_reason_ = reason;
  if (ended_) return;
  log("stopping", reason);
  console_.say("stopping the protection of " + task_.domain.name + " ...");
  primary_->signal(SIGTERM);
  kill_at_ = Clock::now() + kStopMax;
}

int Guardian::conclude(int status) {
  if (far_side_) read_far_side();
  if (!ended_) return conclude_after_death(describe_status(status));
  return text_of(*ended_, "reason") == "handed-over" ? conclude_hand_over() : conclude_in_order();
}

int Guardian::conclude_hand_over() {
  std::string advice;
  const std::string stands = give_up(advice);
  if (xen::run_state(xen::Xenctrl(), task_.domain.domid).exists) {
    console_.error(stands, advice);
    return 1;
  }
  console_.say(stands + "; " + advice);
  return 0;
}

int Guardian::conclude_in_order() {
  const std::string reason = text_of(*ended_, "reason");
  const std::string& name = task_.domain.name;
  std::string advice;
  std::string stands;
  // The backup was told to stop, and has not confirmed that it did; or it is lost.
  const auto copy = ended_->find("copy_may_exist");
  if (copy == ended_->end() || !copy->is_boolean() || copy->get<bool>())
    stands = settle("protection ended on the primary; the guest lives on there", advice);
  else if (far_side_)
    far_side_->stand_down("protection ended on the primary; the guest lives on there");
  const bool unsettled = !advice.empty();

  if (reason == "guest-ended" && !unsettled) {
    const std::string what = text_of(*ended_, "what");
    console_.say("protection ended: " + (what.empty() ? name + " has ended" : what));
    return 0;
  }
  if (stands.empty()) stands = where_guest_stands();
  if (reason == "stopped") {
    if (signal_ != 0 && !unsettled) {
      console_.error("protection stopped; " + stands);
      return 128 + signal_;
    }
    if (!stop_reason_.empty() || unsettled) {
      const std::string what = stop_reason_.empty() ? "protection stopped" : stop_reason_;
      console_.error(far_failure_ ? std::string(far_failure_->what()) : what + "; " + stands,
                     unsettled || !far_failure_ ? advice : far_failure_->advice());
      return signal_ != 0 ? 128 + signal_ : 1;
    }
    console_.say("protection stopped; " + stands);
    return 0;
  }
  // backup-lost or error. The backup's reason, if it could give one, is the first cause.
  std::string what = far_failure_ ? std::string(far_failure_->what()) : text_of(*ended_, "what");
  if (what.empty()) what = "protection failed";
  if (advice.empty()) advice = far_failure_ ? far_failure_->advice() : text_of(*ended_, "advice");
  console_.error(what + "; " + stands, advice);
  return 1;
}

int Guardian::conclude_after_death(const std::string& how) {
  // First of all: the data link closed when the process died, and the backup waits only for the
  // heartbeat timeout before it activates. Only then the guest, which may be stopped; what it
  // sends stays held until it is settled which copy goes on. Whether it freezes later, for a
  // suspend that was asked of it before, is watched when that is settled, and its clients have it
  // back (go_on(), hold()).
  if (far_side_) far_side_->stand_down("specrep-primary died; the guest lives on");
  try {
    xen::Watchdog::disarm_unless_fed();
  } catch (const Error& error) {
    console_.warn(error.what(), error.advice());
  }
  recover(milliseconds(0));
  // Whatever became of that: the output must not stay held if the copy is gone.
  std::string advice;
  std::string guest = settle("specrep-primary died; the guest lives on", advice);
  if (!recovered_.empty()) guest += " (" + recovered_ + ")";
  if (left_stopped_) {
    guest += std::string("; ") + left_stopped_->what();
    if (advice.empty()) advice = left_stopped_->advice();
  }
  // By its entry remus-spec-stop knows that it was us who left the guest stopped.
  try {
    for (const xen::Protection& p : xen::list_protections())
      if (!left_stopped_ && p.uuid == xen::to_string(task_.domain.uuid) && !p.alive)
        xen::remove_stale(p);
  } catch (const Error&) {
    // It is marked as dead wherever it is shown.
  }
  const std::string text = "specrep-primary died (" + how + "); " + guest;
  const nlohmann::json ended = {
      {"event", "ended"}, {"reason", "error"}, {"what", text}, {"advice", advice}};
  console_.event(ended);
  events_.add(ended);
  console_.error(text, advice);
  return signal_ != 0 ? 128 + signal_ : 1;
}

void Guardian::recover(milliseconds freeze_max) {
  try {
    const std::string done = xen::recover_guest(task_.domain.domid, freeze_max);
    if (!done.empty()) recovered_ += (recovered_.empty() ? "" : "; ") + done;
    left_stopped_.reset();
  } catch (const Error& error) {
    left_stopped_ = error;
  }
}

std::string Guardian::settle(const std::string& reason, std::string& advice) {
  if (!far_side_) return go_on(advice);
  log("settling", reason);
  far_side_->stand_down(reason);
  using Step = PrimarySettlement::Step;
  // A primary that has had the backup told to take the guest over yields, whatever was agreed.
  PrimarySettlement settlement({.has_arbiter = task_.arbiter != nullptr,
                                .backup_yields = !task_.primary_yields && !handing_over_});
  std::string trouble;
  for (;;) {
    switch (settlement.step(Clock::now())) {
      case Step::kHearBackup:
        settlement.backup_said(far_side_->wait_for_outcome(
            std::chrono::ceil<milliseconds>(settlement.hear_backup_max())));
        break;
      case Step::kAskArbiter:
        ask_arbiter(settlement, trouble);
        break;
      case Step::kWait: {
        pollfd signal{signals_.fd(), POLLIN, 0};
        const auto left = std::chrono::ceil<milliseconds>(settlement.due() - Clock::now());
        poll(&signal, 1, std::max(0, static_cast<int>(left.count())));
        if (const int number = signals_.take()) {
          if (signal_ == 0) signal_ = number;
          settlement.interrupted();
        }
        break;
      }
      case Step::kGoOn:
        return go_on(advice);
      case Step::kGiveUp:
        return give_up(advice);
      case Step::kHold:
        return hold(advice);
    }
  }
}

// trouble: why there was no answer before, so that the same is said once.
void Guardian::ask_arbiter(PrimarySettlement& settlement, std::string& trouble) {
  try {
    settlement.arbiter_said(task_.arbiter->claim(xen::to_string(task_.domain.uuid),
                                                 task_.fencing_generation, xen::claimant()));
  } catch (const Error& error) {
    if (trouble != error.what())
      console_.warn("the output of " + task_.domain.name +
                        " is held until the arbiter answers: " + error.what(),
                    error.advice());
    trouble = error.what();
    settlement.arbiter_silent(Clock::now());
  }
}

std::string Guardian::go_on(std::string& advice) {
  try {
    if (!xen::run_state(xen::Xenctrl(), task_.domain.domid).exists) return where_guest_stands();
    xen::open_output(task_.domain.domid, task_.netbuf_script);
  } catch (const Error& error) {
    advice = error.advice();
    if (!ended_) recover(xen::kFreezeMax);
    return task_.domain.name + " runs, but its network is held: " + error.what();
  }
  if (!ended_) recover(xen::kFreezeMax);
  log("unprotected", where_guest_stands());
  return where_guest_stands();
}

std::string Guardian::give_up(std::string& advice) {
  log("moved", task_.domain.name + " runs on " + task_.host + " now");
  try {
    xen::end_losing_copy(task_.domain.domid, task_.netbuf_script);
  } catch (const Error& error) {
    advice = error.advice();
    return task_.domain.name + " runs on " + task_.host + " now; " + error.what();
  }
  advice = "protect it again from there";
  return task_.domain.name + " runs on " + task_.host + " now; the copy here was ended";
}

// Nobody can say whether the other copy runs. This one stands still, so that nothing is lost
// whichever the operator chooses.
std::string Guardian::hold(std::string& advice) {
  const std::string& name = task_.domain.name;
  const xen::Xenctrl xc;
  if (!xen::run_state(xc, task_.domain.domid).exists) return where_guest_stands();
  // One that is paused on its way to a suspend would go on with it when it is let go.
  if (!ended_) recover(xen::kFreezeMax);
  xc_domain_pause(xc.get(), task_.domain.domid);
  log("held", task_.host + " may run " + name + " by now");
  // Even a copy that is gone again has told its clients what the one here does not know.
  if (xen::held_interfaces(task_.domain.domid).empty()) {  // -n, or it has no network
    advice = held_advice(name, task_.host, "xl unpause " + name);
    return name + " is paused, since " + task_.host + " may run it by now";
  }
  advice = held_advice(name, task_.host, kStopForced + name);
  return name + " is paused and its network held, since " + task_.host + " may run it by now";
}

std::string Guardian::where_guest_stands() const {
  const std::string& name = task_.domain.name;
  try {
    const xen::RunState state = xen::run_state(xen::Xenctrl(), task_.domain.domid);
    if (!state.exists) return name + " is gone";
    if (state.shut_down) return name + " is stopped";
  } catch (const Error&) {
    return "the state of " + name + " cannot be told";
  }
  return name + " runs on, unprotected";
}

}  // namespace specrep::xl
