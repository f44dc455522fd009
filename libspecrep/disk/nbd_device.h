#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace specrep::disk {

// A block device of the kernel's nbd driver, /dev/nbdN, whose requests go to a server at a unix
// socket. When the server dies the device waits for the next one; requests that it had not answered
// are sent again. (nbd-client cannot do that: it sets no time to wait.)
class NbdDevice {
 public:
  // Makes one for the disk of that name, or goes on with the one that an earlier process made for
  // it and left, whose guest waits. Loads the driver where needed. sector_bytes: what the guest
  // sees as the disk's. Throws Error.
  NbdDevice(const std::string& disk, const std::string& socket_path, std::uint32_t sector_bytes);

  // That of a disk, if there is one, whether its server lives or not.
  static std::optional<unsigned> find(const std::string& disk);
  // Requests that were not answered fail. Throws Error.
  static void disconnect(unsigned index);

  unsigned index() const { return index_; }
  std::string path() const { return "/dev/nbd" + std::to_string(index_); }

  // Goes on with a new server at the same socket. Only after the old one has been reaped: it could
  // otherwise carry out a request late that has been sent again and followed by others. The driver
  // throws the connection away, and does not say so, when it has not noticed yet that the old one
  // is dead, so call it again a little later; that does no harm. Throws Error.
  void reconnect();

  void disconnect() { disconnect(index_); }

 private:
  const std::string disk_, socket_path_;
  unsigned index_ = 0;
};

}  // namespace specrep::disk
