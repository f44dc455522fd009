#include "tools/agent/sight.h"

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>

#include "libspecrep/error.h"
#include "libspecrep/xen/domain.h"
#include "libspecrep/xen/libxl_headers.h"
#include "libspecrep/xen/registry.h"

namespace specrep::tools {

namespace {

using State = pool::GuestSeen::State;

std::string uuid_of(const libxl_dominfo& info) {
  xen::Uuid uuid;
  std::copy(std::begin(info.uuid.uuid), std::end(info.uuid.uuid), uuid.begin());
  return xen::to_string(uuid);
}

// What libxl and xl call a domain that a guest is being migrated into.
bool is_incoming(const xen::Libxl& libxl, std::uint32_t domid) {
  const std::unique_ptr<char, decltype(&std::free)> name(libxl_domid_to_name(libxl.get(), domid),
                                                         &std::free);
  return name && std::string(name.get()).ends_with("--incoming");
}

}  // namespace

std::vector<pool::GuestSeen> look_at_host(const xen::Libxl& libxl) {
  std::map<std::string, xen::Protection> protections;
  for (xen::Protection& p : xen::list_protections())
    if (p.alive) protections.emplace(p.uuid, std::move(p));
  int count = 0;
  const std::unique_ptr<libxl_dominfo, std::function<void(libxl_dominfo*)>> domains(
      libxl_list_domain(libxl.get(), &count),
      [&count](libxl_dominfo* list) { libxl_dominfo_list_free(list, count); });
  if (!domains) throw Error("Xen does not say which domains there are");
  std::vector<pool::GuestSeen> guests;
  for (int i = 0; i < count; ++i) {
    const libxl_dominfo& info = domains.get()[i];
    if (info.domid == 0 || info.dying) continue;
    pool::GuestSeen guest;
    guest.uuid = uuid_of(info);
    const auto at = protections.find(guest.uuid);
    if (at != protections.end() && at->second.role == "primary") {
      guest.protection = at->second.state;
      guest.backup = at->second.peer;
    } else if (at != protections.end() || is_incoming(libxl, info.domid)) {
      guest.state = State::kArrives;
    }
    const auto known = std::find_if(guests.begin(), guests.end(),
                                    [&](const auto& other) { return other.uuid == guest.uuid; });
    // One that is migrated within the host.
    if (known == guests.end())
      guests.push_back(std::move(guest));
    else if (guest.state == State::kRuns)
      *known = std::move(guest);
  }
  // Copies for which there is no domain yet.
  for (const auto& [uuid, p] : protections)
    if (p.role == "backup" &&
        std::none_of(guests.begin(), guests.end(), [&id = uuid](const auto& g) { return g.uuid == id; }))
      guests.push_back({uuid, State::kArrives, {}, {}});
  return guests;
}

bool discard_copy(const std::string& uuid) {
  for (const xen::Protection& p : xen::list_protections())
    if (p.uuid == uuid && p.role == "backup" && p.alive) return kill(p.pid, SIGTERM) == 0;
  return false;
}

}  // namespace specrep::tools
