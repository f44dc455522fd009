#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "libspecrep/output/output_buffer.h"

namespace specrep::output {

// Sets up and takes away, by a script that needs no specrep process (scripts/specrep-netbuf;
// what it builds is told there), the devices through which a NetworkBuffer works.
namespace netbuf_script {

// For interfaces of this host, by name. An interface that has a buffer already gets a new one; what
// the old one held goes out. Nothing is held back until NetworkBuffer::end_epoch(1).
// limit_bytes: of what is held per interface and lane; more is dropped.
// Throws Error with what the script said; then nothing is left of it.
void set_up(const std::string& script, const std::vector<std::string>& interfaces,
            std::size_t limit_bytes);

// Lets all that is held go out, and removes the devices. Interfaces that are gone or
// have no buffer are no error. Throws Error when something is left.
void take_away(const std::string& script, const std::vector<std::string>& interfaces);

// From now on all that leaves for the guest through the interfaces goes to the taps of an InputHold,
// and with give_input() to the guest again. take_away() gives it, too; cut_off() drops it.
void hold_input(const std::string& script, const std::vector<std::string>& interfaces);
void give_input(const std::string& script, const std::vector<std::string>& interfaces);

// As take_away(), but what is held is dropped, and so is what the interfaces still send.
void cut_off(const std::string& script, const std::vector<std::string>& interfaces);

}  // namespace netbuf_script

// Whether the interface of this name has a buffer now.
bool has_buffer(const std::string& interface);

// Holds back every frame, of whatever ethertype, that a guest sends through its interfaces in
// dom0 (vifN.M, and vifN.M-emu for an emulated card; the same on a bridge and on Open vSwitch,
// since it works before either sees the frame).
//
// A frame that enters at the interface is redirected (mirred) to an ifb device whose queue is the
// plug qdisc, and comes back from there as if it had just been received. The plug tells only two
// kinds of held frames apart, those of the newest ended epoch and later ones, so that with two
// epochs in flight a second release would let go too much. Hence two lanes, two ifbs, per
// interface: epochs go through them in turn, and each lane holds one ended epoch at most.
//
// Sources: net/sched/sch_plug.c, act_mirred.c and drivers/net/ifb.c in Linux; libnl-route-3.
class NetworkBuffer final : public OutputBuffer {
 public:
  static constexpr unsigned kLanes = 2;

  // The interfaces as given to netbuf_script::set_up(). Throws Error when their devices are not
  // there.
  explicit NetworkBuffer(const std::vector<std::string>& interfaces, std::size_t limit_bytes);
  ~NetworkBuffer() override;
  NetworkBuffer(const NetworkBuffer&) = delete;
  NetworkBuffer& operator=(const NetworkBuffer&) = delete;

  void end_epoch(Epoch epoch) override;
  void release(Epoch epoch) override;
  double fill() override;

  // For good, all that is held and all that comes: what netbuf_script::take_away() begins with,
  // without the start of a process. Of these interfaces, whatever of a buffer they have; what goes
  // wrong is left to the script, which says it.
  static void open(const std::vector<std::string>& interfaces) noexcept;

  // Of the last fill(): frames that were dropped since the start because the buffer was full.
  std::uint64_t dropped_frames() const { return dropped_; }
  double fill_max() const { return fill_max_; }  // of all fill()s
  // The most bytes that were held at any fill().
  std::uint64_t held_bytes_max() const { return held_max_; }

 private:
  class Netlink;
  struct Interface;
  static Interface find(const std::string& name);

  std::unique_ptr<Netlink> netlink_;
  std::vector<Interface> interfaces_;
  std::size_t limit_bytes_;
  std::uint64_t dropped_ = 0, held_max_ = 0;
  double fill_max_ = 0;
};

}  // namespace specrep::output
