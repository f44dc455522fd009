#include "libspecrep/xen/vif_bridge.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>

#include "libspecrep/hex.h"

namespace specrep::xen {

namespace {

const std::string kFolder = "/etc/xen/scripts/";
const std::string kScript = kFolder + "vif-bridge";
constexpr const char* kParts[] = {"vif-bridge", "vif-common.sh", "xen-network-common.sh",
                                  "xen-hotplug-common.sh"};
// SHA-256 of the parts, one after the other.
constexpr const char* kKnown[] = {
    // Debian 12: xen-utils-common 4.17.7+13-g2445b30a44-0+deb12u1
    "193529d4d06ea7f71e2cadaed390631cac38ff024f21e55d764ee856d44287d1",
};
// Where libxl keeps the configuration that libxl_retrieve_domain_configuration() starts from.
constexpr const char* kStoredConfig = "libxl-json";

bool is_vif_bridge(const char* script) {
  return !script || !std::strcmp(script, "vif-bridge") || script == kScript;
}

bool put_back(libxl_device_nic& nic, const std::string& stand_in) {
  if (!nic.script || nic.script != stand_in) return false;
  std::free(nic.script);
  nic.script = strdup(kScript.c_str());
  return true;
}

}  // namespace

bool knows_vif_bridge() {
  std::string text;
  for (const char* part : kParts) {
    std::ifstream file(kFolder + part, std::ios::binary);
    text.append(std::istreambuf_iterator<char>(file), {});
  }
  const std::string digest = sha256(text);
  return std::ranges::find(kKnown, digest) != std::end(kKnown);
}

unsigned use_stand_in(DomainConfig& config, const std::string& stand_in) {
  unsigned cards = 0;
  for (int i = 0; i < config->num_nics; ++i) {
    libxl_device_nic& nic = config->nics[i];
    if (!is_vif_bridge(nic.script)) continue;
    std::free(nic.script);
    nic.script = strdup(stand_in.c_str());
    ++cards;
  }
  return cards;
}

void put_back_vif_bridge(const Libxl& libxl, std::uint32_t domid, const std::string& stand_in) {
  Xenstore store;
  std::uint8_t* stored = nullptr;
  int size = 0;
  if (libxl_userdata_retrieve(libxl.get(), domid, kStoredConfig, &stored, &size) || size <= 0)
    throw Error("cannot read what libxl keeps of domain " + std::to_string(domid));
  const std::unique_ptr<std::uint8_t, decltype(&std::free)> owner(stored, std::free);
  DomainConfig config;
  config.parse(
      libxl, std::string(reinterpret_cast<char*>(stored),
                         strnlen(reinterpret_cast<char*>(stored), static_cast<std::size_t>(size))));
  bool changed = false;
  for (int i = 0; i < config->num_nics; ++i) {
    libxl_device_nic& nic = config->nics[i];
    if (!put_back(nic, stand_in)) continue;
    changed = true;
    // Both of libxl's copies of what it gave to the backend; dom0's is what runs at the end.
    const std::string card = std::to_string(nic.devid);
    for (const std::string& folder : {"/libxl/" + std::to_string(domid) + "/device/vif/" + card,
                                      "/local/domain/" + std::to_string(nic.backend_domid) +
                                          "/backend/vif/" + std::to_string(domid) + "/" + card})
      if (store.read(folder + "/script") == stand_in) store.write(folder + "/script", kScript);
  }
  if (!changed) return;
  const std::unique_ptr<char, decltype(&std::free)> text(
      libxl_domain_config_to_json(libxl.get(), config.get()), std::free);
  // With its zero, as libxl does.
  if (!text || libxl_userdata_store(libxl.get(), domid, kStoredConfig,
                                    reinterpret_cast<const std::uint8_t*>(text.get()),
                                    static_cast<int>(std::strlen(text.get()) + 1)))
    throw Error("cannot change what libxl keeps of domain " + std::to_string(domid));
}

}  // namespace specrep::xen
