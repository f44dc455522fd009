#include "libspecrep/epoch/epoch_length.h"

#include <algorithm>

namespace specrep::epoch {

namespace {
void follow(double& worst, Duration newest) {
  const auto value = static_cast<double>(newest.count());
  worst = value > worst ? value : worst + (value - worst) / 8;
}
}  // namespace

EpochLength::EpochLength(EpochTarget target) : target_(target), length_(target.length) {}

void EpochLength::paused(Duration paused, Duration sampling) {
  follow(pause_ns_, paused);
  follow(sampling_ns_, sampling);
  adapt();
}

void EpochLength::committed(Duration lag) {
  follow(lag_ns_, lag);
  adapt();
}

void EpochLength::adapt() {
  double wanted = static_cast<double>(target_.length.count());
  if (target_.max_overhead) {
    // overhead = cost / (length + pause), where the pause is a part of the cost.
    wanted = (pause_ns_ + sampling_ns_) / *target_.max_overhead - pause_ns_;
  }
  if (target_.max_delay) {
    const double allowed = static_cast<double>(target_.max_delay->count()) - pause_ns_ - lag_ns_;
    // Without the other target the longest epoch that keeps the delay costs the guest least.
    wanted = target_.max_overhead ? std::min(wanted, allowed) : allowed;
  }
  length_ = Duration(static_cast<Duration::rep>(
      std::clamp(wanted, static_cast<double>(kMin.count()), static_cast<double>(kMax.count()))));
}

}  // namespace specrep::epoch
