// xl remus-spec-list: what this host protects, and what it keeps copies of.

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <iostream>

#include "libspecrep/xen/network.h"
#include "libspecrep/xen/recover.h"
#include "libspecrep/xen/registry.h"
#include "tools/table.h"
#include "xl-plugin/command.h"

namespace specrep::xl {

namespace {

// A counter for a table; "-" when the process did not publish it.
std::string cell(const nlohmann::json& status, const char* key) {
  const auto it = status.find(key);
  if (it == status.end() || it->is_null()) return "-";
  if (it->is_number_float()) {
    char text[32];
    const double value = it->get<double>();
    std::snprintf(text, sizeof text, std::abs(value) < 100 ? "%.1f" : "%.0f", value);
    return text;
  }
  return it->is_string() ? it->get<std::string>() : it->dump();
}

void print_table(const std::vector<xen::Protection>& protections) {
  tools::Table table({{"NAME", false, 16},
                      {"ID", true},
                      {"ROLE"},
                      {"STATE"},
                      {"PEER", false, 12},
                      {"EPOCH", true},
                      {"PAUSE", true},
                      {"LAG", true},
                      {"LAST EVENT"}});
  for (const xen::Protection& p : protections)
    table.add({p.name, std::to_string(p.domid), p.role, p.alive ? p.state : "dead", p.peer,
               cell(p.status, "epoch"), cell(p.status, "pause_ms"), cell(p.status, "lag_epochs"),
               cell(p.status, "last_event")});
  std::cout << table.text();
}

// What a dead protection has left stopped, or half made. Its entry is the record by which
// remus-spec-stop knows that this was left by us, and not by a migration; so it stays until then.
bool has_remains(const xen::Protection& p) {
  if (p.role == "backup") return xen::leftover_copy_exists(p);
  const xen::RunState state = xen::run_state(xen::Xenctrl(), p.domid);
  return state.exists && (state.shut_down || !xen::held_interfaces(p.domid).empty());
}

void remove_dead(const std::vector<xen::Protection>& protections) {
  for (const xen::Protection& p : protections) {
    if (p.alive) continue;
    if (has_remains(p))
      std::cerr << "the protection of " << p.name << " died and left "
                << (p.role == "backup" ? "a half-made copy"
                                       : "the guest suspended or its network held")
                << ": `xl remus-spec-stop " << p.name << "` puts it in order\n";
    else
      xen::remove_stale(p);
  }
}

}  // namespace

int list(int argc, char** argv) {
  bool json = false;
  CLI::App app(
      "Lists the guests that this host protects or keeps copies of. PAUSE: ms that the guest is "
      "stopped per epoch. LAG: epochs that the backup has yet to commit. `xl remus-spec-top` shows "
      "more, as it goes.",
      "xl remus-spec-list");
  app.add_flag("--json", json, "an array with everything that is known");
  if (const auto status = parse(app, argc, argv)) return *status;

  const std::vector<xen::Protection> protections = xen::list_protections();
  if (json) {
    std::cout << nlohmann::json(protections).dump(2) << "\n";
  } else {
    print_table(protections);
  }
  if (geteuid() == 0) remove_dead(protections);
  return kOk;
}

}  // namespace specrep::xl
