#include "xl-plugin/held.h"

#include "libspecrep/error.h"
#include "libspecrep/xen/domain.h"
#include "libspecrep/xen/handles.h"
#include "libspecrep/xen/network.h"

namespace specrep::xl {

bool is_held(std::uint32_t domid) {
  return xen::run_state(xen::Xenctrl(), domid).exists && !xen::held_interfaces(domid).empty();
}

std::string held_advice(const std::string& name, const std::string& host,
                        const std::string& go_on) {
  return "look at " + host + " and its /var/log/specrep/" + name + ".log: if " + name +
         " was not started there and never will be, `" + go_on +
         "` lets it go on here; if it was, `xl destroy " + name + "`";
}

void refuse_held(const std::string& name, const std::string& host) {
  throw Error("the network of " + name + " is held: its copy may run on " + host,
              held_advice(name, host, kStopForced + name));
}

}  // namespace specrep::xl
