#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libspecrep/guest/card_address.h"
#include "libspecrep/output/input_hold.h"
#include "libspecrep/xen/domain_config.h"
#include "libspecrep/xen/handles.h"

namespace specrep::xen {

// The interfaces in this host's dom0 through which a domain sends: vifN.M, and vifN.M-emu for an
// emulated card, or as the guest's configuration names them. Only those that exist now.
std::vector<output::CardInterface> card_interfaces(std::uint32_t domid);
std::vector<std::string> network_interfaces(std::uint32_t domid);  // their names

// Those of them that have an output buffer (libspecrep/output): while no specrep-primary protects
// the domain, what it sends there goes nowhere.
std::vector<std::string> held_interfaces(std::uint32_t domid);

// Finds interfaces of a protected domain that have no output buffer: those that were attached
// since.
class UnheldInterfaces {
 public:
  explicit UnheldInterfaces(std::uint32_t domid);
  // Those that have appeared since the last call, each once. Cheap unless something has changed.
  std::vector<std::string> look();

 private:
  std::vector<std::string> devices() const;

  const std::uint32_t domid_;
  Xenstore store_;
  std::vector<std::string> devices_;     // as xenstore numbers them
  std::vector<std::string> interfaces_;  // and as they are called
  unsigned looks_left_ = 0;              // at their names
  std::vector<unsigned> told_;           // indices in the kernel
};

// The hardware addresses of a domain's cards.
std::vector<guest::Mac> card_addresses(std::uint32_t domid);

// Lets out what is held of a domain and removes its buffers. Only for one whose copy does not run
// elsewhere. Returns whether it had any.
bool open_output(std::uint32_t domid, const std::string& netbuf_script);

// Waits until all cards with PV drivers of a domain that has just been started are connected, and
// makes their bridges know them there, so that nothing that is sent to it or by it is lost. Returns
// whether they are within the time that such a guest takes. Throws Error when it cannot tell which
// cards there are.
bool wait_for_cards(std::uint32_t domid);

// Tells the network around this host that a guest's cards are here now: for each card a RARP frame,
// as QEMU does after a migration, and what its known addresses call for, sent through its bridge.
// Returns for how many cards that was done: a card whose bridge takes no frames from dom0 (Open
// vSwitch without an internal port of that name, or a VLAN of one) is left out.
unsigned announce(const DomainConfig& config, const std::vector<guest::CardAddress>& addresses);

// Ends a domain whose copy runs elsewhere: from now on it sends nothing, and it is destroyed.
void end_losing_copy(std::uint32_t domid, const std::string& netbuf_script);

}  // namespace specrep::xen
