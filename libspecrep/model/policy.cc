#include "libspecrep/model/policy.h"

#include <algorithm>
#include <array>

#include "libspecrep/error.h"
#include "libspecrep/model/page_history.h"
#include "libspecrep/model/predictor.h"

namespace specrep::model {
namespace {

struct Name {
  PolicyKind kind;
  const char* name;
};
constexpr Name kNames[] = {{PolicyKind::kRemus, "remus"},
                           {PolicyKind::kAlways, "always"},
                           {PolicyKind::kAge, "age"},
                           {PolicyKind::kAdaptive, "adaptive"},
                           {PolicyKind::kClairvoyant, "clairvoyant"}};

class Remus final : public Policy {
 public:
  bool speculates() const override { return false; }
  void sampled(Slot, std::span<const Gfn>) override {}
  void choose(Slot, std::span<const Gfn>, std::uint64_t, std::vector<Gfn>& chosen) override {
    chosen.clear();
  }
  void ended(std::span<const Gfn>) override {}
};

class Always final : public Policy {
 public:
  void sampled(Slot, std::span<const Gfn>) override {}
  void choose(Slot, std::span<const Gfn> unsent, std::uint64_t, std::vector<Gfn>& chosen) override {
    chosen.assign(unsent.begin(), unsent.end());
  }
  void ended(std::span<const Gfn>) override {}
};

class Clairvoyant final : public Policy {
 public:
  explicit Clairvoyant(const Oracle& oracle) : oracle_(oracle) {}
  void sampled(Slot, std::span<const Gfn>) override {}
  void choose(Slot, std::span<const Gfn> unsent, std::uint64_t, std::vector<Gfn>& chosen) override {
    chosen.clear();
    for (const Gfn gfn : unsent) {
      if (!oracle_.written_again(gfn)) chosen.push_back(gfn);
    }
  }
  void ended(std::span<const Gfn>) override {}

 private:
  const Oracle& oracle_;
};

// What age and adaptive have in common: they remember when pages were written.
class Remembering : public Policy {
 public:
  explicit Remembering(Gfn gfn_count) : history_(gfn_count) {}
  void sampled(Slot, std::span<const Gfn> written) override {
    history_.begin_sample();
    for (const Gfn gfn : written) history_.write(gfn);
  }
  void ended(std::span<const Gfn> written) override {
    history_.begin_final_sample();
    for (const Gfn gfn : written) history_.write(gfn);
    history_.end_epoch();
  }

 protected:
  PageHistory history_;
};

class Age final : public Remembering {
 public:
  Age(Gfn gfn_count, unsigned samples) : Remembering(gfn_count), recent_((1u << samples) - 1) {}
  void choose(Slot, std::span<const Gfn> unsent, std::uint64_t, std::vector<Gfn>& chosen) override {
    chosen.clear();
    for (const Gfn gfn : unsent) {
      if ((history_.pattern(gfn) & recent_) == 0) chosen.push_back(gfn);
    }
  }

 private:
  const unsigned recent_;
};

// What could be sent now and is not is lost; what is sent in vain costs little, since it goes as
// a difference to what was sent before, and so does what is sent again. So before the last slot
// a page is sent unless it will more likely be written again than not, and more than these if the
// later slots could not carry all that waits. At the last slot it is sent unless it is all but
// sure to be written once more, as the pages are that the guest's own suspend dirties. Those least
// likely to be written again go first, since not all may find room.
class Adaptive final : public Remembering {
 public:
  Adaptive(Gfn gfn_count, const PolicyOptions& options)
      : Remembering(gfn_count), options_(options) {}

  void choose(Slot slot, std::span<const Gfn> unsent, std::uint64_t later,
              std::vector<Gfn>& chosen) override {
    slot = std::min(slot, kSlotsMax - 1);
    later /= kLaterShare;
    const auto first = predictions_.size();
    std::array<std::uint32_t, 256> count{};
    for (const Gfn gfn : unsent) {
      const std::uint8_t pattern = history_.pattern(gfn);
      predictions_.push_back({gfn, pattern, static_cast<std::uint8_t>(slot), history_.stamp(gfn)});
      ++count[pattern];
    }

    std::array<std::uint8_t, 256> order;
    std::array<float, 256> again;
    std::size_t patterns = 0;
    for (unsigned pattern = 0; pattern < 256; ++pattern) {
      if (count[pattern] == 0) continue;
      again[pattern] = predictor_.written_again(slot, static_cast<std::uint8_t>(pattern));
      order[patterns++] = static_cast<std::uint8_t>(pattern);
    }
    std::sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(patterns),
              [&](auto a, auto b) { return again[a] < again[b]; });

    // How many of each pattern go, and where in `chosen` they stand.
    std::array<std::uint32_t, 256> quota{}, place{};
    std::uint32_t going = 0;
    for (std::size_t i = 0; i < patterns; ++i) {
      const auto pattern = order[i];
      const std::uint64_t waiting = unsent.size() - going;
      const float below = slot == 0 ? options_.send_at_last_below : options_.send_early_below;
      std::uint64_t go = count[pattern];
      if (again[pattern] > below)
        go = slot == 0 || waiting <= later ? 0 : std::min(go, waiting - later);
      if (go == 0) break;
      quota[pattern] = static_cast<std::uint32_t>(go);
      place[pattern] = going;
      going += quota[pattern];
    }

    chosen.resize(going);
    for (auto i = first; i < predictions_.size(); ++i) {
      const auto pattern = predictions_[i].pattern;
      if (quota[pattern] == 0) continue;
      --quota[pattern];
      chosen[place[pattern]++] = predictions_[i].gfn;
    }
  }

  void ended(std::span<const Gfn> written) override {
    Remembering::ended(written);
    for (const Prediction& p : predictions_)
      predictor_.learn(p.slot, p.pattern, history_.stamp(p.gfn) != p.stamp);
    predictions_.clear();
  }

 private:
  // Pages that are not dirty yet will want to be sent at the later slots, too: those that wait
  // now get a quarter of them.
  static constexpr std::uint64_t kLaterShare = 4;

  // That a page was seen at a slot, to be learned from when the epoch is over.
  struct Prediction {
    Gfn gfn;
    std::uint8_t pattern;
    std::uint8_t slot;
    std::uint8_t stamp;  // of the page's newest write then
  };

  const PolicyOptions options_;
  Predictor predictor_;
  std::vector<Prediction> predictions_;
};

}  // namespace

PolicyKind policy_from_name(const std::string& name) {
  std::string all;
  for (const Name& known : kNames) {
    if (name == known.name) return known.kind;
    all += (all.empty() ? "" : ", ") + std::string(known.name);
  }
  throw Error("there is no policy `" + name + "`", "the policies are " + all);
}

const char* to_string(PolicyKind kind) {
  for (const Name& known : kNames)
    if (kind == known.kind) return known.name;
  return "?";
}

std::unique_ptr<Policy> make_policy(const PolicyOptions& options, Gfn gfn_count,
                                    const Oracle* oracle) {
  switch (options.kind) {
    case PolicyKind::kRemus:
      return std::make_unique<Remus>();
    case PolicyKind::kAlways:
      return std::make_unique<Always>();
    case PolicyKind::kAge:
      return std::make_unique<Age>(gfn_count, options.age_samples);
    case PolicyKind::kAdaptive:
      return std::make_unique<Adaptive>(gfn_count, options);
    case PolicyKind::kClairvoyant:
      if (!oracle)
        throw Error("the policy `clairvoyant` knows the future, and a running guest has none yet",
                    "it is for `specrep-trace eval`");
      return std::make_unique<Clairvoyant>(*oracle);
  }
  throw Error("there is no such policy");
}

}  // namespace specrep::model
