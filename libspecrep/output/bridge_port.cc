#include "libspecrep/output/bridge_port.h"

#include <linux/if_bridge.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/netlink.h>
#include <netlink/route/neighbour.h>
#include <sys/socket.h>

#include <fstream>
#include <memory>

#include "libspecrep/error.h"

namespace specrep::output {

namespace {

std::string file_of(const std::string& interface, const char* name) {
  return "/sys/class/net/" + interface + name;
}

// Only a port of a bridge of Linux's has it.
std::string state_file(const std::string& interface) { return file_of(interface, "/brport/state"); }

// 0 when it cannot be read, such as the carrier of an interface that is not up.
int number_in(const std::string& file) {
  int number = 0;
  std::ifstream(file) >> number;
  return number;
}

}  // namespace

bool is_forwarding(const std::string& interface) {
  if (number_in(file_of(interface, "/carrier")) == 0) return false;
  const std::string state = state_file(interface);
  return !std::ifstream(state) || number_in(state) == BR_STATE_FORWARDING;
}

void teach_bridge(const std::string& interface, const guest::Mac& mac) {
  if (!std::ifstream(state_file(interface))) return;
  const std::unique_ptr<nl_sock, decltype(&nl_socket_free)> socket(nl_socket_alloc(),
                                                                   nl_socket_free);
  const std::unique_ptr<nl_addr, decltype(&nl_addr_put)> address(
      nl_addr_build(AF_LLC, mac.data(), mac.size()), nl_addr_put);
  const std::unique_ptr<rtnl_neigh, decltype(&rtnl_neigh_put)> entry(rtnl_neigh_alloc(),
                                                                     rtnl_neigh_put);
  if (!socket || !address || !entry) throw Error("no memory to tell a bridge of a guest");
  rtnl_neigh_set_family(entry.get(), AF_BRIDGE);
  rtnl_neigh_set_ifindex(entry.get(), static_cast<int>(if_nametoindex(interface.c_str())));
  rtnl_neigh_set_lladdr(entry.get(), address.get());
  rtnl_neigh_set_flags(entry.get(), NTF_MASTER);
  // As one that was learned: it ages, and moves with the card.
  rtnl_neigh_set_state(entry.get(), NUD_REACHABLE);
  int error = nl_connect(socket.get(), NETLINK_ROUTE);
  if (error >= 0) error = rtnl_neigh_add(socket.get(), entry.get(), NLM_F_CREATE | NLM_F_REPLACE);
  if (error < 0)
    throw Error("cannot tell the bridge of " + interface +
                " that a guest is there: " + nl_geterror(error));
}

}  // namespace specrep::output
