#include "libspecrep/xen/network.h"

#include <net/if.h>

#include <spdlog/spdlog.h>
#include <algorithm>
#include <thread>

#include "libspecrep/clock.h"
#include "libspecrep/error.h"
#include "libspecrep/output/announcement.h"
#include "libspecrep/output/bridge_port.h"
#include "libspecrep/output/network_buffer.h"
#include "libspecrep/xen/domain.h"

namespace specrep::xen {

using namespace std::chrono_literals;

namespace {

// How long a card's driver takes until it is connected.
constexpr Duration kConnectedMax = 5s;
constexpr Duration kCardPoll = 2ms;

guest::Mac mac_of(const libxl_device_nic& nic) {
  guest::Mac mac;
  std::copy(std::begin(nic.mac), std::end(nic.mac), mac.begin());
  return mac;
}

}  // namespace

std::vector<output::CardInterface> card_interfaces(std::uint32_t domid) {
  if (domid == 0) return {};  // libxl keeps no configuration of dom0
  const Libxl libxl;
  DomainConfig config;
  config.parse(libxl, domain_config_json(libxl, domid));
  std::vector<output::CardInterface> interfaces;
  for (int i = 0; i < config->num_nics; ++i) {
    const libxl_device_nic& nic = config->nics[i];
    const std::string name = nic.ifname && *nic.ifname
                                 ? std::string(nic.ifname)
                                 : "vif" + std::to_string(domid) + "." + std::to_string(nic.devid);
    // As libxl names them (libxl__device_nic_devname()).
    for (const char* suffix : {"", "-emu"})
      if (const unsigned index = if_nametoindex((name + suffix).c_str()))
        interfaces.push_back({name + suffix, index, static_cast<std::uint32_t>(nic.devid),
                              mac_of(nic), *suffix != 0});
  }
  return interfaces;
}

std::vector<std::string> network_interfaces(std::uint32_t domid) {
  std::vector<std::string> names;
  for (const output::CardInterface& interface : card_interfaces(domid))
    names.push_back(interface.name);
  return names;
}

bool wait_for_cards(std::uint32_t domid) {
  const SteadyClock clock;
  const TimePoint until = clock.now() + kConnectedMax;
  auto waiting = card_interfaces(domid);
  std::erase_if(waiting, [](const auto& interface) { return interface.is_emulated; });
  for (;;) {
    std::erase_if(waiting, [](const auto& interface) {
      if (!output::is_forwarding(interface.name)) return false;
      try {
        output::teach_bridge(interface.name, interface.mac);
      } catch (const Error& error) {
        // It learns from what the guest sends, a little later.
        spdlog::warn(error.what());
      }
      return true;
    });
    if (waiting.empty()) return true;
    if (clock.now() > until) return false;
    std::this_thread::sleep_for(kCardPoll);
  }
}

std::vector<std::string> held_interfaces(std::uint32_t domid) {
  std::vector<std::string> held;
  for (const std::string& interface : network_interfaces(domid))
    if (output::has_buffer(interface)) held.push_back(interface);
  return held;
}

UnheldInterfaces::UnheldInterfaces(std::uint32_t domid)
    : domid_(domid), devices_(devices()), interfaces_(network_interfaces(domid)) {}

std::vector<std::string> UnheldInterfaces::devices() const {
  return store_.directory("/local/domain/0/backend/vif/" + std::to_string(domid_));
}

std::vector<std::string> UnheldInterfaces::look() {
  constexpr unsigned kLooks = 10;  // after a change, until the interface is there
  auto now = devices();
  if (now != devices_) looks_left_ = kLooks;
  devices_ = std::move(now);
  if (looks_left_ > 0) {
    --looks_left_;
    interfaces_ = network_interfaces(domid_);
  }
  std::vector<std::string> unheld;
  for (const std::string& interface : interfaces_) {
    const unsigned index = if_nametoindex(interface.c_str());
    if (index == 0 || output::has_buffer(interface)) continue;
    if (std::find(told_.begin(), told_.end(), index) != told_.end()) continue;
    told_.push_back(index);
    unheld.push_back(interface);
  }
  return unheld;
}

bool open_output(std::uint32_t domid, const std::string& netbuf_script) {
  const auto held = held_interfaces(domid);
  output::NetworkBuffer::open(held);
  output::netbuf_script::take_away(netbuf_script, held);
  return !held.empty();
}

std::vector<guest::Mac> card_addresses(std::uint32_t domid) {
  const Libxl libxl;
  DomainConfig config;
  config.parse(libxl, domain_config_json(libxl, domid));
  std::vector<guest::Mac> macs;
  for (int i = 0; i < config->num_nics; ++i) macs.push_back(mac_of(config->nics[i]));
  return macs;
}

unsigned announce(const DomainConfig& config, const std::vector<guest::CardAddress>& addresses) {
  output::FrameSender sender("cannot announce a guest on its network");
  unsigned announced = 0;
  for (int i = 0; i < config->num_nics; ++i) {
    const libxl_device_nic& nic = config->nics[i];
    const guest::Mac mac = mac_of(nic);
    const unsigned bridge = if_nametoindex(nic.bridge ? nic.bridge : "xenbr0");
    if (bridge == 0) continue;
    std::vector<output::Frame> frames{output::reverse_arp(mac)};
    for (const guest::CardAddress& address : addresses)
      if (address.mac == mac) frames.push_back(output::announcement(address));
    bool sent = true;
    for (const output::Frame& frame : frames) sent &= sender.send(bridge, frame);
    announced += sent;
  }
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
