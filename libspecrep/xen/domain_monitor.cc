#include "libspecrep/xen/domain_monitor.h"

#include <spdlog/spdlog.h>

#include "libspecrep/error.h"
#include "libspecrep/xen/domain_config.h"

extern "C" {
#include <xen/sched.h>
}

namespace specrep::xen {

namespace {

libxl_action_on_shutdown action_for(const libxl_domain_config& config, unsigned reason) {
  switch (reason) {
    case SHUTDOWN_poweroff:
      return config.on_poweroff;
    case SHUTDOWN_reboot:
      return config.on_reboot;
    case SHUTDOWN_crash:
      return config.on_crash;
    case SHUTDOWN_watchdog:
      return config.on_watchdog;
    default:
      return LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
  }
}

// Waits for the next shutdown of the domain. False when it was destroyed instead.
bool wait_for_shutdown(const Libxl& libxl, std::uint32_t domid, unsigned& reason) {
  libxl_evgen_domain_death* watch = nullptr;
  if (libxl_evenable_domain_death(libxl.get(), domid, 0, &watch))
    throw Error("cannot watch domain " + std::to_string(domid));
  for (;;) {
    libxl_event* event = nullptr;
    if (libxl_event_wait(libxl.get(), &event, LIBXL_EVENTMASK_ALL, nullptr, nullptr))
      throw Error("cannot wait for events of domain " + std::to_string(domid));
    const auto type = event->type;
    const bool ours = event->domid == domid;
    if (type == LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN) reason = event->u.domain_shutdown.shutdown_reason;
    libxl_event_free(libxl.get(), event);
    if (!ours) continue;
    // Somebody suspends it, to protect or migrate it: none of our business.
    if (type == LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN && reason == SHUTDOWN_suspend) continue;
    if (type == LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN || type == LIBXL_EVENT_TYPE_DOMAIN_DEATH) {
      libxl_evdisable_domain_death(libxl.get(), watch);
      return type == LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN;
    }
  }
}

}  // namespace

void monitor_domain(std::uint32_t domid, const std::string& domain_config_json) {
  const Libxl libxl;
  for (;;) {
    unsigned reason = 0;
    if (!wait_for_shutdown(libxl, domid, reason)) return;
    DomainConfig config;
    config.parse(libxl, domain_config_json);
    const auto action = action_for(*config.get(), reason);
    switch (action) {
      case LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_DESTROY:
      case LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_RESTART: {
        const std::string file = "/var/lib/xen/dump/" + std::string(config->c_info.name) + ".core";
        if (libxl_domain_core_dump(libxl.get(), domid, file.c_str(), nullptr))
          spdlog::error("cannot write the core dump {}", file);
        break;
      }
      case LIBXL_ACTION_ON_SHUTDOWN_PRESERVE:
        return;
      default:
        break;
    }
    if (libxl_domain_destroy(libxl.get(), domid, nullptr))
      throw Error("cannot destroy domain " + std::to_string(domid) + " after it shut down");
    if (action != LIBXL_ACTION_ON_SHUTDOWN_RESTART &&
        action != LIBXL_ACTION_ON_SHUTDOWN_RESTART_RENAME &&
        action != LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_RESTART &&
        action != LIBXL_ACTION_ON_SHUTDOWN_SOFT_RESET)
      return;
    config->c_info.domid = INVALID_DOMID;
    if (libxl_domain_create_new(libxl.get(), config.get(), &domid, nullptr, nullptr) ||
        libxl_domain_unpause(libxl.get(), domid, nullptr))
      throw Error("cannot restart guest " + std::string(config->c_info.name));
  }
}

}  // namespace specrep::xen
