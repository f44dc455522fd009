#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "libspecrep/guest/page.h"

namespace specrep::model {

// Samples are numbered by how close to the end of the epoch they are: slot 0 is the last one
// before the checkpoint. So a slot means the same in epochs of different lengths.
using Slot = unsigned;
inline constexpr Slot kSlotsMax = 16;
// A number of pages that nothing known limits.
inline constexpr std::uint64_t kUnlimited = UINT64_MAX / 2;

// Decides which dirty pages are sent while the guest still runs.
//
// For each epoch: sampled() and then choose() at every slot that is sampled (slots descend, some
// may be left out), then ended(). All lists ascend by gfn and hold no gfn of the policy's
// gfn_count or above. No call may do work per gfn of the guest: only per page in its lists.
class Policy {
 public:
  virtual ~Policy() = default;

  // Whether the log has to be sampled inside the epoch at all.
  virtual bool speculates() const { return true; }

  // The pages written since the sample before (or the checkpoint).
  virtual void sampled(Slot slot, std::span<const Gfn> written) = 0;

  // Sets `chosen` to those of `unsent` that are to be sent now, as far as there is room for them:
  // those that it is best spent on first. `unsent`: every page dirtied in this epoch whose newest
  // known version has not been sent. `later`: how many such pages, as far as is known, can be
  // sent in the rest of the epoch after the next sample; 0 at slot 0.
  virtual void choose(Slot slot, std::span<const Gfn> unsent, std::uint64_t later,
                      std::vector<Gfn>& chosen) = 0;

  // The guest is stopped, the epoch is over: the pages written since the last sample, by the
  // guest's own suspend among others.
  virtual void ended(std::span<const Gfn> written) = 0;
};

// What only a trace knows: whether a page is written again in the running epoch.
class Oracle {
 public:
  virtual ~Oracle() = default;
  virtual bool written_again(Gfn gfn) const = 0;
};

enum class PolicyKind {
  kRemus,        // never speculates: all dirty pages at the end of the epoch
  kAlways,       // sends every dirty page at every sample
  kAge,          // sends pages that were not written for some samples
  kAdaptive,     // predicts (model::Predictor); the default
  kClairvoyant,  // asks the oracle: the bound
};

struct PolicyOptions {
  PolicyKind kind = PolicyKind::kAdaptive;
  // kAge: after how many samples without a write a page is sent; 1 to 4.
  unsigned age_samples = 2;
  // kAdaptive: before the last slot a page is sent if the chance that it is written again is
  // at most this, …
  float send_early_below = 0.5f;
  // … and at the last slot, where all that is left is captured while the guest is stopped, if it
  // is at most this.
  float send_at_last_below = 0.95f;
};

// Throws Error that lists the names when there is none of that name.
PolicyKind policy_from_name(const std::string& name);
const char* to_string(PolicyKind kind);

// `oracle` must outlive the policy; only kClairvoyant uses it, and throws Error without one.
std::unique_ptr<Policy> make_policy(const PolicyOptions& options, Gfn gfn_count,
                                    const Oracle* oracle = nullptr);

}  // namespace specrep::model
