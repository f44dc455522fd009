#include "libspecrep/xen/domain.h"

#include <algorithm>
#include <boost/uuid/uuid.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "libspecrep/error.h"
#include "libspecrep/xen/domain_config.h"

extern "C" {
#include <xen/hvm/params.h>
}

namespace specrep::xen {

std::string to_string(const Uuid& uuid) {
  boost::uuids::uuid same;
  std::ranges::copy(uuid, same.begin());
  return boost::uuids::to_string(same);
}

namespace {

// libxl_domain_info() calls a PVH guest HVM, as the hypervisor does; libxl's configuration of
// the domain tells them apart.
libxl_domain_type domain_type(const Libxl& libxl, std::uint32_t domid) {
  DomainConfig config;
  if (libxl_retrieve_domain_configuration(libxl.get(), domid, config.get(), nullptr))
    return LIBXL_DOMAIN_TYPE_INVALID;
  return config->c_info.type;
}

wire::GuestKind guest_kind(const Libxl& libxl, const Xenctrl& xc, std::uint32_t domid) {
  const libxl_domain_type type = domain_type(libxl, domid);
  if (type == LIBXL_DOMAIN_TYPE_PVH) return wire::PVH;
  if (type != LIBXL_DOMAIN_TYPE_HVM) return wire::GUEST_KIND_UNSPECIFIED;
  // The rule by which libxl, too, tells whether an HVM guest has PV drivers to suspend it.
  std::uint64_t callback_irq = 0;
  xc_hvm_param_get(xc.get(), domid, HVM_PARAM_CALLBACK_IRQ, &callback_irq);
  return callback_irq ? wire::HVM_PV_DRIVERS : wire::HVM;
}

}  // namespace

Domain find_domain(const Libxl& libxl, const Xenctrl& xc, const std::string& name_or_id) {
  Domain domain{};
  if (libxl_domain_qualifier_to_domid(libxl.get(), name_or_id.c_str(), &domain.domid))
    throw Error("no such domain: " + name_or_id, "`xl list` shows the domains of this host");
  libxl_dominfo info;
  libxl_dominfo_init(&info);
  if (libxl_domain_info(libxl.get(), &info, domain.domid))
    throw Error("no such domain: " + name_or_id, "`xl list` shows the domains of this host");
  std::copy(std::begin(info.uuid.uuid), std::end(info.uuid.uuid), domain.uuid.begin());
  domain.kind = guest_kind(libxl, xc, domain.domid);
  libxl_dominfo_dispose(&info);
  char* name = libxl_domid_to_name(libxl.get(), domain.domid);
  domain.name = name ? name : name_or_id;
  std::free(name);
  return domain;
}

std::string domain_config_json(const Libxl& libxl, std::uint32_t domid) {
  DomainConfig config;
  char* json = nullptr;
  if (!libxl_retrieve_domain_configuration(libxl.get(), domid, config.get(), nullptr))
    json = libxl_domain_config_to_json(libxl.get(), config.get());
  if (!json)
    throw Error("libxl has no configuration of domain " + std::to_string(domid),
                "only domains that `xl create` or another libxl tool started can be protected");
  std::string result(json);
  std::free(json);
  return result;
}

RunState run_state(const Xenctrl& xc, std::uint32_t domid) {
  xc_dominfo_t info;
  if (xc_domain_getinfo(xc.get(), domid, 1, &info) != 1 || info.domid != domid || info.dying)
    return {false, false, 0, false, 0};
  return {true, info.shutdown != 0, info.shutdown_reason, info.paused != 0, info.max_memkb};
}

}  // namespace specrep::xen
