// vif-bridge: what Xen's script of this name does for a new network card, in one process instead of
// some thirty, since a guest waits for it while it is activated (libspecrep/xen/vif_bridge.h).
//
// libxl runs it in place of the script, with the same arguments and environment. Whatever is not
// the plain case, or fails, is left to the script, which may be run after a half-done attempt.

extern "C" {
#include <xenstore.h>
}

#include <net/if.h>
#include <netlink/route/link.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace {

constexpr const char* kScript = "/etc/xen/scripts/vif-bridge";
constexpr const char* kHooks = "/etc/xen/scripts/vif-post.d";
constexpr const char* kProgramFolders[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                           "/usr/bin",        "/sbin",          "/bin"};
// A port that carries others' frames: the highest address that is not a broadcast, so that the
// bridge does not take it for its own.
constexpr const char* kPortAddress = "fe:ff:ff:ff:ff:ff";

[[noreturn]] void run_script(char** argv) {
  setenv("script", kScript, 1);
  argv[0] = const_cast<char*>(kScript);
  execv(kScript, argv);
  std::perror(kScript);
  _exit(127);
}

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// The script lets frames through a firewall, and runs the administrator's hooks.
bool is_plain_host() {
  for (const char* folder : kProgramFolders)
    if (access((std::string(folder) + "/iptables").c_str(), X_OK) == 0) return false;
  std::error_code error;
  const std::filesystem::directory_iterator hooks(kHooks, error);
  return error || hooks == std::filesystem::directory_iterator();
}

struct Card {
  std::string interface;
  std::string backend;   // its folder in xenstore
  std::string frontend;  // the guest's end; empty for an emulated card
};

// Nothing for other tasks than to connect a new card.
std::optional<Card> new_card(int argc, char** argv) {
  if (argc != 3) return std::nullopt;
  const std::string_view command = argv[1], type = argv[2];
  Card card;
  bool emulated = false;
  if (command == "online" && type == "type_if=vif") {
    card.interface = from_environment("vif");
  } else if (command == "add" && type == "type_if=tap") {
    card.interface = from_environment("INTERFACE");
    emulated = true;
  }
  unsigned domid = 0, devid = 0;
  int length = 0;
  const char* form = emulated ? "vif%u.%u-emu%n" : "vif%u.%u%n";
  if (std::sscanf(card.interface.c_str(), form, &domid, &devid, &length) != 2 ||
      length != static_cast<int>(card.interface.size()))
    return std::nullopt;
  const std::string number = std::to_string(domid) + "/", which = std::to_string(devid);
  card.backend = "/local/domain/0/backend/vif/" + number + which;
  if (!emulated) card.frontend = "/local/domain/" + number + "device/vif/" + which;
  return card;
}

class Store {
 public:
  Store() : handle_(xs_open(0)) {}
  ~Store() {
    if (handle_) xs_close(handle_);
  }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  bool is_open() const { return handle_; }

  std::string read(const std::string& path) {
    unsigned size = 0;
    const std::unique_ptr<void, decltype(&std::free)> value(
        xs_read(handle_, XBT_NULL, path.c_str(), &size), std::free);
    return value ? std::string(static_cast<char*>(value.get()), size) : "";
  }
  bool write(const std::string& path, const std::string& value) {
    return xs_write(handle_, XBT_NULL, path.c_str(), value.data(),
                    static_cast<unsigned>(value.size()));
  }

 private:
  xs_handle* handle_;
};

// Makes the interface a port of the bridge, and returns the MTU that it has then; 0: it failed.
unsigned join(const std::string& interface, const std::string& bridge, unsigned mtu) {
  const std::unique_ptr<nl_sock, decltype(&nl_socket_free)> socket(nl_socket_alloc(),
                                                                   nl_socket_free);
  rtnl_link* found = nullptr;
  if (!socket || nl_connect(socket.get(), NETLINK_ROUTE) ||
      rtnl_link_get_kernel(socket.get(), 0, bridge.c_str(), &found))
    return 0;
  const std::unique_ptr<rtnl_link, decltype(&rtnl_link_put)> to(found, rtnl_link_put);
  const char* kind = rtnl_link_get_type(found);
  if (!kind || std::strcmp(kind, "bridge") != 0) return 0;
  if (mtu == 0) mtu = rtnl_link_get_mtu(found);

  const auto make = [] {
    return std::unique_ptr<rtnl_link, decltype(&rtnl_link_put)>(rtnl_link_alloc(), rtnl_link_put);
  };
  const auto port = make(), change = make();
  nl_addr* parsed = nullptr;
  if (!port || !change || nl_addr_parse(kPortAddress, AF_LLC, &parsed)) return 0;
  const std::unique_ptr<nl_addr, decltype(&nl_addr_put)> address(parsed, nl_addr_put);
  rtnl_link_set_ifindex(port.get(), static_cast<int>(if_nametoindex(interface.c_str())));
  rtnl_link_set_addr(change.get(), address.get());
  rtnl_link_set_mtu(change.get(), mtu);
  rtnl_link_set_master(change.get(), rtnl_link_get_ifindex(found));
  rtnl_link_set_flags(change.get(), IFF_UP);
  return rtnl_link_change(socket.get(), port.get(), change.get(), 0) ? 0 : mtu;
}

bool connect(const Card& card) {
  Store store;
  if (!store.is_open() || !store.read(card.backend + "/vifname").empty()) return false;
  const std::string bridge = store.read(card.backend + "/bridge");
  if (bridge.empty()) return false;
  const auto wanted = std::strtoul(store.read(card.backend + "/mtu").c_str(), nullptr, 10);
  const unsigned mtu = join(card.interface, bridge, static_cast<unsigned>(wanted));
  if (mtu == 0) return false;
  // netback connects when it sees the second.
  return card.frontend.empty() || (store.write(card.frontend + "/mtu", std::to_string(mtu)) &&
                                   store.write(card.backend + "/hotplug-status", "connected"));
}

}  // namespace

int main(int argc, char** argv) {
  const auto card = new_card(argc, argv);
  if (!card || !is_plain_host() || !connect(*card)) run_script(argv);
  return 0;
}
