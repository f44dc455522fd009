#include "libspecrep/xen/network.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "libspecrep/error.h"
#include "libspecrep/output/network_buffer.h"
#include "libspecrep/xen/domain.h"
#include "libspecrep/xen/domain_config.h"
#include "libspecrep/xen/handles.h"

namespace specrep::xen {

namespace {

bool exists(const std::string& interface) { return if_nametoindex(interface.c_str()) != 0; }

}  // namespace

std::vector<std::string> network_interfaces(std::uint32_t domid) {
  if (domid == 0) return {};  // libxl keeps no configuration of dom0
  const Libxl libxl;
  DomainConfig config;
  config.parse(libxl, domain_config_json(libxl, domid));
  std::vector<std::string> interfaces;
  for (int i = 0; i < config->num_nics; ++i) {
    const libxl_device_nic& nic = config->nics[i];
    const std::string name = nic.ifname && *nic.ifname
                                 ? std::string(nic.ifname)
                                 : "vif" + std::to_string(domid) + "." + std::to_string(nic.devid);
    // As libxl names them (libxl__device_nic_devname()).
    for (const char* suffix : {"", "-emu"})
      if (exists(name + suffix)) interfaces.push_back(name + suffix);
  }
  return interfaces;
}

std::vector<std::string> held_interfaces(std::uint32_t domid) {
  std::vector<std::string> held;
  for (const std::string& interface : network_interfaces(domid))
    if (output::has_buffer(interface)) held.push_back(interface);
  return held;
}

bool open_output(std::uint32_t domid, const std::string& netbuf_script) {
  const auto held = held_interfaces(domid);
  output::netbuf_script::take_away(netbuf_script, held);
  return !held.empty();
}

unsigned announce(const DomainConfig& config) {
  const int wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (wire < 0) throw Error(errno_text("cannot announce a guest on its network"));
  unsigned announced = 0;
  for (int i = 0; i < config->num_nics; ++i) {
    const libxl_device_nic& nic = config->nics[i];
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(if_nametoindex(nic.bridge ? nic.bridge : "xenbr0"));
    if (to.sll_ifindex == 0) continue;
    // RFC 903, request reverse: who has the card's own address?
    struct {
      ether_header ethernet;
      ether_arp arp;
      std::uint8_t padding[18];
    } __attribute__((packed)) frame{};
    static_assert(sizeof frame == ETH_ZLEN);
    std::memset(frame.ethernet.ether_dhost, 0xff, ETH_ALEN);
    std::memcpy(frame.ethernet.ether_shost, nic.mac, ETH_ALEN);
    frame.ethernet.ether_type = htons(ETHERTYPE_REVARP);
    frame.arp.ea_hdr = {htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), ETH_ALEN, 4,
                        htons(ARPOP_RREQUEST)};
    std::memcpy(frame.arp.arp_sha, nic.mac, ETH_ALEN);
    std::memcpy(frame.arp.arp_tha, nic.mac, ETH_ALEN);
    if (sendto(wire, &frame, sizeof frame, 0, reinterpret_cast<sockaddr*>(&to), sizeof to) ==
        static_cast<ssize_t>(sizeof frame))
      ++announced;
  }
  close(wire);
  return announced;
}

void end_losing_copy(std::uint32_t domid, const std::string& netbuf_script) {
  const Xenctrl xc;
  // At once, and whatever comes after: a domain that stands still sends nothing.
  xc_domain_pause(xc.get(), domid);
  output::netbuf_script::cut_off(netbuf_script, network_interfaces(domid));
  if (libxl_domain_destroy(Libxl().get(), domid, nullptr))
    throw Error("cannot destroy domain " + std::to_string(domid) + ", whose copy runs elsewhere",
                "it is paused: `xl destroy " + std::to_string(domid) + "`");
}

}  // namespace specrep::xen
