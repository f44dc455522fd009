#pragma once

#include <vector>

#include "libspecrep/xen/domain.h"
#include "specrep.pb.h"

namespace specrep::xen {

// What of this guest and this host would prevent, or weaken, protection, and what is fine; one
// finding per subject, each with its cure. Looks only, changes nothing.
// Subjects: guest kind, suspend support, log-dirty support, passed-through devices and others
// that cannot move, disks, network interfaces, Xen version, existing protection, kernel modules.
struct SurveyOptions {
  bool network_buffering = true;  // false: -n was given
  bool disk_replication = true;   // false: -d was given
};
std::vector<wire::Finding> survey_guest(const Domain& domain, const SurveyOptions& options);

// The question to the backup's host about the guest.
wire::SurveyRequest survey_request(const Domain& domain);

// The answer, on the backup's host. Subjects: Xen version, CPU policy (Xen's own
// xc_cpu_policy_is_compatible), memory for the guest, memory of dom0 for staging, a domain of the
// same name or uuid, bridges that the guest's interfaces need, existing protection.
std::vector<wire::Finding> answer_survey(const wire::SurveyRequest& request);

}  // namespace specrep::xen
