#include "libspecrep/output/announcement.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <netpacket/packet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "libspecrep/error.h"

namespace specrep::output {

namespace {

using guest::CardAddress;
using guest::Mac;

constexpr std::size_t kIp6At = sizeof(ether_header);
constexpr std::size_t kIcmp6At = kIp6At + sizeof(ip6_hdr);
constexpr Mac kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr Mac kAllNodesMac = {0x33, 0x33, 0, 0, 0, 1};
constexpr std::uint8_t kAllNodes[16] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
// Neighbour discovery is not to be routed (RFC 4861, 3.1).
constexpr std::uint8_t kHopLimit = 255;
// Longer than anything that is looked for.
constexpr std::size_t kFrameBytesMax = 256;
// What waits between two looks; a guest that sends more of these only hides its own addresses.
constexpr int kReceiveBytes = 64 * 1024;

template <typename T>
std::optional<T> header_at(std::span<const std::byte> frame, std::size_t offset) {
  T header;
  if (frame.size() < offset + sizeof header) return std::nullopt;
  std::memcpy(&header, frame.data() + offset, sizeof header);
  return header;
}

template <typename T>
void append(Frame& frame, const T& header) {
  const auto bytes = std::as_bytes(std::span(&header, 1));
  frame.insert(frame.end(), bytes.begin(), bytes.end());
}

ether_header ethernet(const Mac& to, const Mac& from, std::uint16_t type) {
  ether_header header{};
  std::copy(to.begin(), to.end(), header.ether_dhost);
  std::copy(from.begin(), from.end(), header.ether_shost);
  header.ether_type = htons(type);
  return header;
}

ether_arp arp(std::uint16_t operation, const Mac& mac, const Mac& target) {
  ether_arp header{};
  header.ea_hdr = {htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), ETH_ALEN, 4, htons(operation)};
  std::copy(mac.begin(), mac.end(), header.arp_sha);
  std::copy(target.begin(), target.end(), header.arp_tha);
  return header;
}

// RFC 1071, of bytes in network order.
void add_to_sum(std::uint32_t& sum, const void* data, std::size_t bytes) {
  const auto* const at = static_cast<const std::uint8_t*>(data);
  for (std::size_t i = 0; i + 1 < bytes; i += 2)
    sum += static_cast<std::uint32_t>(at[i]) << 8 | at[i + 1];  // cppcheck-suppress objectIndex
}

std::uint16_t folded(std::uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<std::uint16_t>(~sum));
}

Frame neighbour_advertisement(const CardAddress& address) {
  struct {
    nd_neighbor_advert head{};
    nd_opt_hdr option{ND_OPT_TARGET_LINKADDR, 1};
    Mac mac;
  } __attribute__((packed)) advert;
  static_assert(sizeof advert == 32);
  advert.head.nd_na_type = ND_NEIGHBOR_ADVERT;
  advert.head.nd_na_flags_reserved =
      ND_NA_FLAG_OVERRIDE | (address.is_router ? ND_NA_FLAG_ROUTER : 0);
  std::copy(address.ip.begin(), address.ip.end(), advert.head.nd_na_target.s6_addr);
  advert.mac = address.mac;

  ip6_hdr ip{};
  ip.ip6_flow = htonl(6u << 28);
  ip.ip6_plen = htons(sizeof advert);
  ip.ip6_nxt = IPPROTO_ICMPV6;
  ip.ip6_hlim = kHopLimit;
  std::copy(address.ip.begin(), address.ip.end(), ip.ip6_src.s6_addr);
  std::memcpy(ip.ip6_dst.s6_addr, kAllNodes, sizeof kAllNodes);

  // RFC 8200, 8.1: with a header of addresses, length and protocol before it.
  std::uint32_t sum = sizeof advert + IPPROTO_ICMPV6;
  add_to_sum(sum, &ip.ip6_src, 2 * sizeof ip.ip6_src);
  add_to_sum(sum, &advert, sizeof advert);
  advert.head.nd_na_cksum = folded(sum);

  Frame frame;
  append(frame, ethernet(kAllNodesMac, address.mac, ETHERTYPE_IPV6));
  append(frame, ip);
  append(frame, advert);
  return frame;
}

Frame with_arp(const Mac& from, std::uint16_t type, const ether_arp& body) {
  Frame frame;
  append(frame, ethernet(kBroadcast, from, type));
  append(frame, body);
  frame.resize(ETH_ZLEN);
  return frame;
}

bool is_unspecified(const CardAddress& address) {
  return std::all_of(address.ip.begin(), address.ip.end(), [](std::uint8_t b) { return b == 0; });
}

std::optional<CardAddress> claimed_in_arp(std::span<const std::byte> frame, CardAddress address) {
  const auto body = header_at<ether_arp>(frame, sizeof(ether_header));
  if (!body || body->ea_hdr.ar_hrd != htons(ARPHRD_ETHER) ||
      body->ea_hdr.ar_pro != htons(ETHERTYPE_IP) || body->ea_hdr.ar_hln != ETH_ALEN ||
      body->ea_hdr.ar_pln != 4 ||
      !std::equal(address.mac.begin(), address.mac.end(), body->arp_sha))
    return std::nullopt;
  std::copy_n(body->arp_spa, 4, address.ip.begin());
  return address;
}

std::optional<CardAddress> claimed_in_ndp(std::span<const std::byte> frame, CardAddress address) {
  address.is_ipv6 = true;
  const auto ip = header_at<ip6_hdr>(frame, kIp6At);
  if (!ip || ip->ip6_nxt != IPPROTO_ICMPV6 || ip->ip6_hlim != kHopLimit) return std::nullopt;
  // A solicitation begins alike: type, flags (none), target.
  const auto body = header_at<nd_neighbor_advert>(frame, kIcmp6At);
  if (!body) return std::nullopt;
  const in6_addr* ours = nullptr;
  if (body->nd_na_type == ND_NEIGHBOR_SOLICIT) ours = &ip->ip6_src;
  if (body->nd_na_type == ND_NEIGHBOR_ADVERT) {
    ours = &body->nd_na_target;
    address.is_router = body->nd_na_flags_reserved & ND_NA_FLAG_ROUTER;
  }
  if (!ours) return std::nullopt;
  std::copy_n(ours->s6_addr, 16, address.ip.begin());
  return address;
}

// Accepts ARP, and ICMPv6 without extension headers, that comes in: from the guest, not to it.
const sock_filter kFilter[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 5, 0),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(ether_header, ether_type)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_ARP, 4, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_IPV6, 0, 2),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kIp6At + offsetof(ip6_hdr, ip6_nxt)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, 0),
    BPF_STMT(BPF_RET | BPF_K, kFrameBytesMax),
};

}  // namespace

Frame reverse_arp(const Mac& mac) {
  return with_arp(mac, ETHERTYPE_REVARP, arp(ARPOP_RREQUEST, mac, mac));
}

Frame announcement(const CardAddress& address) {
  if (address.is_ipv6) return neighbour_advertisement(address);
  ether_arp body = arp(ARPOP_REQUEST, address.mac, Mac{});
  std::copy_n(address.ip.begin(), 4, body.arp_spa);
  std::copy_n(address.ip.begin(), 4, body.arp_tpa);
  return with_arp(address.mac, ETHERTYPE_ARP, body);
}

std::optional<CardAddress> claimed_address(std::span<const std::byte> frame) {
  const auto header = header_at<ether_header>(frame, 0);
  if (!header) return std::nullopt;
  CardAddress address;
  std::copy_n(header->ether_shost, address.mac.size(), address.mac.begin());
  std::optional<CardAddress> claimed;
  if (header->ether_type == htons(ETHERTYPE_ARP)) claimed = claimed_in_arp(frame, address);
  if (header->ether_type == htons(ETHERTYPE_IPV6)) claimed = claimed_in_ndp(frame, address);
  if (claimed && is_unspecified(*claimed)) return std::nullopt;
  return claimed;
}

AddressWatch::AddressWatch(const std::vector<std::string>& interfaces, std::vector<Mac> macs)
    : macs_(std::move(macs)) {
  const sock_fprog filter = {std::size(kFilter), const_cast<sock_filter*>(kFilter)};
  for (const std::string& interface : interfaces) {
    // Of no protocol, so that nothing comes before filter and interface are set.
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) sockets_.push_back(fd);
    sockaddr_ll from{};
    from.sll_family = AF_PACKET;
    from.sll_protocol = htons(ETH_P_ALL);
    from.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    // 0 would be all interfaces.
    if (fd < 0 || from.sll_ifindex == 0 ||
        setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBytes, sizeof kReceiveBytes) ||
        bind(fd, reinterpret_cast<sockaddr*>(&from), sizeof from)) {
      const Error error(errno_text("cannot look at what leaves through " + interface));
      for (const int socket : sockets_) close(socket);
      throw error;
    }
  }
}

AddressWatch::~AddressWatch() {
  for (const int socket : sockets_) close(socket);
}

void AddressWatch::look() {
  std::byte frame[kFrameBytesMax];
  for (const int socket : sockets_) {
    for (;;) {
      const ssize_t bytes = recv(socket, frame, sizeof frame, 0);
      // An interface that is gone says so, once: the guest's end is noticed elsewhere.
      if (bytes <= 0) break;
      const auto claimed = claimed_address(std::span(frame).first(static_cast<std::size_t>(bytes)));
      if (claimed && std::find(macs_.begin(), macs_.end(), claimed->mac) != macs_.end())
        note(*claimed);
    }
  }
}

void AddressWatch::note(const CardAddress& address) {
  const auto known =
      std::find_if(addresses_.begin(), addresses_.end(),
                   [&](const CardAddress& other) { return other.is_same_ip(address); });
  CardAddress newest = address;
  if (known != addresses_.end()) {
    newest.is_router = known->is_router || address.is_router;
    addresses_.erase(known);
  }
  if (addresses_.size() == guest::kCardAddressesMax) addresses_.erase(addresses_.begin());
  addresses_.push_back(newest);
}

}  // namespace specrep::output
