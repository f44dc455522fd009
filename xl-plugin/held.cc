#include "xl-plugin/held.h"

#include "libspecrep/error.h"
#include "libspecrep/xen/domain.h"
#include "libspecrep/xen/handles.h"
#include "libspecrep/xen/network.h"

namespace specrep::xl {

bool is_held(std::uint32_t domid) {
  return xen::run_state(xen::Xenctrl(), domid).exists && !xen::held_interfaces(domid).empty();
}

void refuse_held(const std::string& name, const std::string& host) {
  throw Error("the network of " + name + " is held: its copy may run on " + host,
              "look there; if it does not and never will: xl remus-spec-stop --force " + name +
                  "; if it does: xl destroy " + name);
}

}  // namespace specrep::xl
