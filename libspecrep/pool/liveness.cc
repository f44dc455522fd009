#include "libspecrep/pool/liveness.h"

#include <algorithm>
#include <memory>

#include "libspecrep/error.h"

namespace specrep::pool {

using arbiter::Fence;

Liveness::Liveness(std::string host, Duration watch, arbiter::FenceStore& store, const Clock& clock,
                   std::optional<TimePoint> alive_until, std::function<void()> about_to_write)
    : host_(std::move(host)),
      watch_(watch),
      store_(store),
      clock_(clock),
      begun_(clock.now()),
      alive_until_before_(alive_until),
      about_to_write_(std::move(about_to_write)) {}

void Liveness::configure(const Config& config) {
  config_ = config;
  std::erase_if(observed_, [&](const auto& seen) { return !config.find_host(seen.first); });
}

std::string Liveness::key(const std::string& host) const {
  // Who goes by another time must not be judged by this one.
  const auto watch_s = std::chrono::duration_cast<std::chrono::seconds>(watch_).count();
  return "host-" + config_.find_host(host)->uuid + "-" + std::to_string(watch_s);
}

Liveness::Verdict Liveness::turn(const Seen& seen) {
  Verdict verdict;
  const TimePoint begun = clock_.now();
  if (!is_watched()) begin(verdict);
  if (is_watched()) write_own(seen, verdict);
  TimePoint heard_by_all = clock_.now();
  for (const Host& host : config_.hosts) {
    if (host.name == host_) continue;
    const auto answered = seen.answered.find(host.name);
    heard_by_all =
        std::min(heard_by_all, answered == seen.answered.end() ? TimePoint{} : answered->second);
    // This host's own record must not wait for a slow store.
    if (clock_.now() - begun < interval()) look_at(host, seen, verdict);
  }
  if (set_back_since_ && clock_.now() - *set_back_since_ >= set_back_for()) set_back_since_.reset();
  verdict.set_back = set_back_since_.has_value();
  // Who was declared dead lives again only when it has written so.
  const TimePoint last = verdict.set_back ? written_ : std::max(written_, heard_by_all);
  if (last != TimePoint{}) verdict.alive_until = last + watch_;
  if (is_watched() && (verdict.set_back || last != TimePoint{}))
    // It was declared dead, or lives on: what was before counts no more.
    alive_until_before_ = TimePoint{};
  else
    verdict.alive_until = alive_until_before();
  return verdict;
}

// A write that fails may have been done, a read that fails has done nothing.
void Liveness::begin(Verdict& verdict) {
  try {
    store_.update(
        key(host_), [](const std::optional<Fence>&) { return std::nullopt; },
        clock_.now() + interval());
    about_to_write_();
    alive_until_before_ = clock_.now() + watch_;
  } catch (const Error& error) {
    verdict.trouble = with_advice(error);
  }
}

void Liveness::write_own(const Seen& seen, Verdict& verdict) {
  const TimePoint begun = clock_.now();
  // Not on the stack, see FenceStore::Change.
  const auto was_dead = std::make_shared<bool>(false);
  try {
    const auto written = store_.update(
        key(host_),
        [host = host_, has = seen.has_restart_guests,
         was_dead](const std::optional<Fence>& record) -> std::optional<Fence> {
          *was_dead = record && !record->holder.empty() && record->holder != host;
          // First its guests have to go.
          if (*was_dead && has) return std::nullopt;
          return Fence{record ? record->generation + 1 : 1, host};
        },
        begun + interval());
    if (*was_dead) set_back_since_ = clock_.now();
    written_ = written ? begun : TimePoint{};
  } catch (const Error& error) {
    verdict.trouble = with_advice(error);
  }
}

void Liveness::look_at(const Host& host, const Seen& seen, Verdict& verdict) {
  TimePoint heard = begun_;
  for (const auto* times : {&seen.answered, &seen.asked})
    if (const auto at = times->find(host.name); at != times->end())
      heard = std::max(heard, at->second);
  const Duration silence = clock_.now() - heard;
  if (silence < watch_ / 2) {
    observed_.erase(host.name);
    return;
  }
  const auto record = std::make_shared<std::optional<Fence>>();
  try {
    store_.update(
        key(host.name),
        [record](const std::optional<Fence>& newest) -> std::optional<Fence> {
          *record = newest;
          return std::nullopt;
        },
        clock_.now() + interval());
    if (!*record || (*record)->holder.empty()) {  // nobody watches over it
      observed_.erase(host.name);
      return;
    }
    bool dead = (*record)->holder != host.name;
    if (!dead) {
      const TimePoint now = clock_.now();
      const std::uint64_t beat = (*record)->generation;
      const auto [observed, is_new] = observed_.try_emplace(host.name, Observed{beat, now});
      if (!is_new && observed->second.beat != beat) observed->second = {beat, now};
      if (now - observed->second.since >= until_dead() && silence >= until_dead())
        dead = store_
                   .update(
                       key(host.name),
                       [beat, self = host_, name = host.name](
                           const std::optional<Fence>& newest) -> std::optional<Fence> {
                         if (!newest || newest->generation != beat || newest->holder != name)
                           return std::nullopt;
                         return Fence{beat, self};
                       },
                       now + interval())
                   .has_value();
    }
    // It may have been declared dead, have woken up, and have lived on what all others heard of it.
    if (dead && silence >= until_dead()) verdict.dead.insert(host.name);
  } catch (const Error& error) {
    verdict.trouble = with_advice(error);
  }
}

void Liveness::withdraw() {
  if (!is_watched()) return;
  store_.update(
      key(host_),
      [host = host_](const std::optional<Fence>& record) -> std::optional<Fence> {
        if (!record || record->holder != host) return std::nullopt;
        return Fence{record->generation + 1, ""};
      },
      clock_.now() + interval());
  written_ = {};
  alive_until_before_.reset();
}

}  // namespace specrep::pool
