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
              "look there and at its /var/log/specrep/" + name +
                  ".log; if it was not started there and never will be: xl remus-spec-stop "
                  "--force " +
                  name + "; if it was: xl destroy " + name);
}

}  // namespace specrep::xl
