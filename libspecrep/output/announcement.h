#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libspecrep/guest/card_address.h"

namespace specrep::output {

// Frames by which a guest's cards are announced after an activation, when they are behind another
// port of the switches than before; and those from which its addresses are learned until then.
using Frame = std::vector<std::byte>;

// A request reverse (RFC 903) from the card's own address, as QEMU sends after a migration: it
// tells switches, and says nothing of IP.
Frame reverse_arp(const guest::Mac& mac);

// For IPv4 a gratuitous ARP request (RFC 5227, 3), for IPv6 an unsolicited neighbour advertisement
// to all nodes (RFC 4861, 7.2.6).
Frame announcement(const guest::CardAddress& address);

// The address that the sender of a frame says is its own: in ARP, in a neighbour solicitation or
// advertisement. Nothing for all other frames, for probes from the unspecified address, and for
// what is cut short or malformed.
std::optional<guest::CardAddress> claimed_address(std::span<const std::byte> frame);

// Learns the addresses of a guest's cards from the frames that it sends.
class AddressWatch {
 public:
  // By name, of this host; and the cards behind them. Throws Error.
  AddressWatch(const std::vector<std::string>& interfaces, std::vector<guest::Mac> macs);
  ~AddressWatch();
  AddressWatch(const AddressWatch&) = delete;
  AddressWatch& operator=(const AddressWatch&) = delete;

  // Takes what was sent since the last call; never waits.
  void look();

  // Newest last, at most kCardAddressesMax: the oldest go.
  const std::vector<guest::CardAddress>& addresses() const { return addresses_; }

 private:
  void note(const guest::CardAddress& address);

  const std::vector<guest::Mac> macs_;
  std::vector<int> sockets_;
  std::vector<guest::CardAddress> addresses_;
};

}  // namespace specrep::output
