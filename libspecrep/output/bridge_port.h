#pragma once

#include <string>

#include "libspecrep/guest/card_address.h"

namespace specrep::output {

// Whether what comes through an interface of this host gets on: it has a carrier and, as a port of
// a bridge of Linux's, is let through. That takes some time after the carrier is there (a queue in
// net/core/link_watch.c), and what comes until then is dropped: a guest's own announcement, too. A
// port of Open vSwitch has no such state.
bool is_forwarding(const std::string& interface);

// Makes the interface's bridge send what is for that card to this port, as if the card had sent
// something. A bridge that knows a guest behind the wire, where it was before, drops what comes
// from there for it (br_forward.c). Nothing for a port of Open vSwitch, or of no bridge. Throws
// Error.
void teach_bridge(const std::string& interface, const guest::Mac& mac);

}  // namespace specrep::output
