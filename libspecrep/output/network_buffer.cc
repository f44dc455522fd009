#include "libspecrep/output/network_buffer.h"

#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/plug.h>
#include <netlink/route/tc.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>

#include "libspecrep/error.h"

namespace specrep::output {

namespace {

// As scripts/specrep-netbuf has them.
constexpr std::uint32_t kActionIndexBase = 0x53000000;
std::string lane_name(unsigned interface_index, unsigned lane) {
  return "srb" + std::to_string(interface_index) + "-" + std::to_string(lane);
}

Error netlink_error(const std::string& what, int error) {
  return Error(
      what + ": " + nl_geterror(error),
      "`tc -s qdisc show` shows the buffer; was a network interface of the guest removed?");
}

// One qdisc with its statistics, or the acknowledgement of a request, takes some 150.
constexpr std::size_t kAnswerBytesMax = 16384;

struct Held {
  std::uint64_t bytes = 0, dropped = 0;
};

}  // namespace

struct NetworkBuffer::Interface {
  std::string name;
  unsigned index;
  std::array<unsigned, kLanes> lanes;  // interface indices of the ifbs
};

class NetworkBuffer::Netlink {
 public:
  Netlink() : socket_(nl_socket_alloc()) {
    if (!socket_) throw Error("cannot make a netlink socket");
    if (const int error = nl_connect(socket_, NETLINK_ROUTE); error < 0) {
      nl_socket_free(socket_);
      throw netlink_error("cannot talk to the kernel's network", error);
    }
    // Where libnl knows the size, it does not first look how long each answer is: half as many
    // calls while the guest stands still.
    nl_socket_set_msg_buf_size(socket_, kAnswerBytesMax);
    // The kernel answers at once. One that does not must not hold up the epoch for ever.
    const timeval most{.tv_sec = 5, .tv_usec = 0};
    setsockopt(nl_socket_get_fd(socket_), SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
  }
  ~Netlink() { nl_socket_free(socket_); }
  Netlink(const Netlink&) = delete;
  Netlink& operator=(const Netlink&) = delete;

  // operation: rtnl_qdisc_plug_buffer and the like.
  void plug(const Interface& interface, unsigned lane, int (*operation)(rtnl_qdisc*)) {
    rtnl_qdisc* qdisc = rtnl_qdisc_alloc();
    rtnl_tc* tc = TC_CAST(qdisc);
    rtnl_tc_set_ifindex(tc, static_cast<int>(interface.lanes[lane]));
    rtnl_tc_set_parent(tc, TC_H_ROOT);
    rtnl_tc_set_handle(tc, TC_HANDLE(1, 0));
    int error = rtnl_tc_set_kind(tc, "plug");
    if (error >= 0) error = operation(qdisc);
    if (error >= 0) error = rtnl_qdisc_add(socket_, qdisc, 0);
    rtnl_qdisc_put(qdisc);
    if (error < 0) throw netlink_error("cannot steer the output of " + interface.name, error);
  }

  // All frames that enter at the interface from now on go to that lane. One step for the kernel:
  // no frame passes by, none is lost. libnl-route knows no action by its index, so the message is
  // made here.
  void redirect(const Interface& interface, unsigned lane) {
    tc_mirred mirred{};
    mirred.index = kActionIndexBase + interface.index;
    mirred.action = TC_ACT_PIPE;  // as the script has it, which says why
    mirred.eaction = TCA_EGRESS_REDIR;
    mirred.ifindex = interface.lanes[lane];

    nl_msg* message = nlmsg_alloc_simple(RTM_NEWACTION, NLM_F_REPLACE);
    tcamsg head{};
    int error = nlmsg_append(message, &head, sizeof head, NLMSG_ALIGNTO);
    if (error >= 0) {
      nlattr* table = nla_nest_start(message, TCA_ACT_TAB);
      nlattr* first = nla_nest_start(message, 1);
      nla_put_string(message, TCA_ACT_KIND, "mirred");
      nlattr* options = nla_nest_start(message, TCA_ACT_OPTIONS);
      nla_put(message, TCA_MIRRED_PARMS, sizeof mirred, &mirred);
      nla_nest_end(message, options);
      nla_nest_end(message, first);
      nla_nest_end(message, table);
      error = nl_send_sync(socket_, message);  // frees it
    } else {
      nlmsg_free(message);
    }
    if (error < 0) throw netlink_error("cannot redirect the output of " + interface.name, error);
  }

  Held held(const Interface& interface, unsigned lane) {
    Held held;
    nl_socket_modify_cb(socket_, NL_CB_VALID, NL_CB_CUSTOM, on_qdisc, &held);
    tcmsg request{};
    request.tcm_family = AF_UNSPEC;
    request.tcm_ifindex = static_cast<int>(interface.lanes[lane]);
    request.tcm_parent = TC_H_ROOT;
    // To one that is asked for by its device alone the kernel answers only as to an echo.
    int error = nl_send_simple(socket_, RTM_GETQDISC, NLM_F_ECHO, &request, sizeof request);
    if (error >= 0) error = nl_recvmsgs_default(socket_);
    // The acknowledgement that follows the answer.
    if (error >= 0) error = nl_wait_for_ack(socket_);
    if (error < 0) throw netlink_error("cannot ask what is held of " + interface.name, error);
    return held;
  }

 private:
  static int on_qdisc(nl_msg* message, void* to) {
    nlattr* attributes[TCA_MAX + 1];
    if (nlmsg_parse(nlmsg_hdr(message), sizeof(tcmsg), attributes, TCA_MAX, nullptr) < 0 ||
        !attributes[TCA_STATS2])
      return NL_OK;
    nlattr* stats[TCA_STATS_MAX + 1];
    if (nla_parse_nested(stats, TCA_STATS_MAX, attributes[TCA_STATS2], nullptr) < 0 ||
        !stats[TCA_STATS_QUEUE])
      return NL_OK;
    gnet_stats_queue queue{};
    nla_memcpy(&queue, stats[TCA_STATS_QUEUE], sizeof queue);
    *static_cast<Held*>(to) = {queue.backlog, queue.drops};
    return NL_OK;
  }

  nl_sock* socket_;
};

// A lane that is not there has index 0.
NetworkBuffer::Interface NetworkBuffer::find(const std::string& name) {
  Interface interface {
    name, if_nametoindex(name.c_str()), {}
  };
  for (unsigned lane = 0; lane < kLanes; ++lane)
    interface.lanes[lane] = if_nametoindex(lane_name(interface.index, lane).c_str());
  return interface;
}

bool has_buffer(const std::string& interface) {
  const unsigned index = if_nametoindex(interface.c_str());
  return index != 0 && (if_nametoindex(lane_name(index, 0).c_str()) != 0 ||
                        if_nametoindex(lane_name(index, 1).c_str()) != 0);
}

NetworkBuffer::NetworkBuffer(const std::vector<std::string>& interfaces, std::size_t limit_bytes)
    : netlink_(std::make_unique<Netlink>()), limit_bytes_(limit_bytes) {
  for (const std::string& name : interfaces) {
    interfaces_.push_back(find(name));
    for (const unsigned lane : interfaces_.back().lanes)
      if (lane == 0) throw Error("the output buffer of " + name + " has not been set up");
  }
}

NetworkBuffer::~NetworkBuffer() = default;

void NetworkBuffer::open(const std::vector<std::string>& interfaces) noexcept {
  try {
    Netlink netlink;
    for (const std::string& name : interfaces) {
      const Interface interface = find(name);
      for (unsigned lane = 0; lane < kLanes; ++lane)
        if (interface.lanes[lane] != 0)
          netlink.plug(interface, lane, rtnl_qdisc_plug_release_indefinite);
    }
  } catch (const std::exception&) {
    // The script does the same, and says what goes wrong.
  }
}

// The new lane first: a frame that some other CPU is still putting into the old one then counts
// as the old epoch's or, if it comes too late for that, as that of the next epoch in that lane;
// late, but never early.
void NetworkBuffer::end_epoch(Epoch epoch) {
  for (const Interface& interface : interfaces_) {
    netlink_->redirect(interface, (epoch + 1) % kLanes);
    netlink_->plug(interface, epoch % kLanes, rtnl_qdisc_plug_buffer);
  }
}

void NetworkBuffer::release(Epoch epoch) {
  for (const Interface& interface : interfaces_)
    netlink_->plug(interface, epoch % kLanes, rtnl_qdisc_plug_release_one);
}

double NetworkBuffer::fill() {
  std::uint64_t fullest = 0, total = 0, dropped = 0;
  for (const Interface& interface : interfaces_) {
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const Held held = netlink_->held(interface, lane);
      fullest = std::max(fullest, held.bytes);
      total += held.bytes;
      dropped += held.dropped;
    }
  }
  dropped_ = dropped;
  held_max_ = std::max(held_max_, total);
  const double fill = static_cast<double>(fullest) / static_cast<double>(limit_bytes_);
  fill_max_ = std::max(fill_max_, fill);
  return fill;
}

}  // namespace specrep::output
