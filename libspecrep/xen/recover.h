#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "libspecrep/xen/registry.h"

namespace specrep::xen {

// A guest that has taken a suspend request still needs a while to freeze (110 to 250 ms were
// seen, an idle guest under emulation), and nothing shows that it is on its way.
constexpr std::chrono::milliseconds kFreezeMax{5000};

// Undoes what a dead specrep-primary may have left behind on a guest: lets it run again if it
// is stopped with SHUTDOWN_suspend (and its device model with it), takes back a pending suspend
// request, turns log-dirty mode off. Safe on a guest that needs none of it, and on one that is
// gone. One that runs, and may be on its way to a suspend, is watched for freeze_max before it is
// called safe. Returns what was done, for the operator ("resumed; dirty log off"), empty if
// nothing. Throws Error when the guest is stopped and cannot be resumed.
std::string recover_guest(std::uint32_t domid, std::chrono::milliseconds freeze_max = kFreezeMax);

// Takes back the pause of a guest that stood still since nobody could say whether its copy runs.
// Not for others: who paused those wants them so. Returns whether it was paused.
bool unpause_held_guest(std::uint32_t domid);

// Whether a dead specrep-backup left a half-restored domain: one that still has the guest's uuid,
// the name that it bears while it is restored, and has never run. One that was being activated
// is not counted: it may be the only copy.
bool leftover_copy_exists(const Protection& protection);

// Destroys it if it exists. Throws Error when that fails.
void discard_leftover_copy(const Protection& protection);

}  // namespace specrep::xen
