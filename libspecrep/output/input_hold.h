#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/guest/card_address.h"
#include "libspecrep/wire/link.h"

namespace specrep::output {

// One of a guest's interfaces in dom0.
struct CardInterface {
  std::string name;
  unsigned index = 0;        // in the kernel
  std::uint32_t card = 0;    // of the guest, as libxl numbers them
  guest::Mac mac{};          // the card's
  bool is_emulated = false;  // a card that is emulated may have two interfaces
};

using InputSink = std::function<void(const CardInterface&, std::span<const std::byte> frame)>;

// Keeps what others send to a guest while it is moved to another host on purpose. A guest that
// stands still, or whose cards are not connected yet, would lose it; and what it gets in the last
// moment it would answer before its new cards work, when its own kernel drops the answer
// (xennet_start_xmit() in Linux's drivers/net/xen-netfront.c: no carrier).
//
// For each of the guest's interfaces there is a tap device, to which all that leaves for the guest
// is redirected (scripts/specrep-netbuf hold). The kernel makes of a frame for a tap what a wire
// would see: its own size, with checksums.
//
// Sources: drivers/net/tun.c, net/sched/act_mirred.c in Linux.
class InputHold {
 public:
  // script: as for netbuf_script. Throws Error; then nothing is held.
  InputHold(const std::string& script, const std::vector<CardInterface>& interfaces);
  // What is still held, and what comes, goes to the guest again. What cannot is lost.
  ~InputHold();
  InputHold(const InputHold&) = delete;
  InputHold& operator=(const InputHold&) = delete;

  // Calls `take` with each frame that came, of each interface oldest first.
  void take(const InputSink& take);

  // Of one interface; what comes then is dropped (the tap's queue).
  static constexpr int kFramesMax = 16384;

 private:
  struct Tap {
    CardInterface interface;
    int fd;
  };
  std::vector<std::string> names() const;
  void close_all();

  const std::string script_;
  std::vector<Tap> taps_;
};

// The primary's part when the guest was taken over: waits until the backup wants what is held, and
// sends it, and what still comes here in the next moment. take: InputHold::take(). What has come
// since `held_since` goes twice as fast as it came, since all at once is more than the guest's
// programs have room for. Returns how many frames it sent; none when the backup does not ask, or
// the link is lost. Throws Error.
std::size_t send_input(wire::Link& link, const std::function<void(const InputSink&)>& take,
                       TimePoint held_since, const Clock& clock);

// The frames of an Input, in order: 14 to 65,536 bytes each, and together the whole payload. They are
// the message's. Throws ProtocolError when it does not hold together.
std::vector<std::span<const std::byte>> frames_of(const wire::Message& input);

// The backup's part when the guest's cards are connected: asks for what the primary holds, and
// calls `deliver` with each of these frames, until there are no more or the link is lost. Returns
// how many there were. Throws ProtocolError, and what `deliver` throws.
std::size_t receive_input(wire::Link& link, const Clock& clock,
                          const std::function<void(std::uint32_t card, bool is_emulated,
                                                   std::span<const std::byte>)>& deliver);

// Sends frames out through interfaces of this host, to what is behind them.
class FrameSender {
 public:
  // what: that cannot be done when there is no socket for it. Throws Error.
  explicit FrameSender(const std::string& what);
  ~FrameSender();
  FrameSender(const FrameSender&) = delete;
  FrameSender& operator=(const FrameSender&) = delete;
  // index: of the interface in the kernel. Returns whether the kernel took it.
  bool send(unsigned index, std::span<const std::byte> frame);

 private:
  const int socket_;
};

}  // namespace specrep::output
