#pragma once

#include <cstdint>
#include <string>

namespace specrep::disk {

// A block device of the kernel's nbd driver, /dev/nbdN, whose requests go to a server at a unix
// socket. When the server dies the device waits for the next one; requests that it had not answered
// are sent again. (nbd-client cannot do that: it sets no time to wait.)
class NbdDevice {
 public:
  // Makes one. Loads the driver where needed. Throws Error.
  explicit NbdDevice(const std::string& socket_path);

  unsigned index() const { return index_; }
  std::string path() const { return "/dev/nbd" + std::to_string(index_); }

  // Goes on with a new server at the same socket. Only after the old one has been reaped: it could
  // otherwise carry out a request late that has been sent again and followed by others. Throws
  // Error.
  void reconnect();

  // Requests that were not answered fail. Throws Error.
  void disconnect();

 private:
  const std::string socket_path_;
  unsigned index_ = 0;
};

}  // namespace specrep::disk
