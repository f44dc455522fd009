#pragma once

#include "libspecrep/disk/record.h"
#include "libspecrep/wire/fd_channel.h"

namespace specrep::disk {

// Asks the server of a disk on this host, see DiskAttach in the protocol. When it goes, the server
// lets go of the backup. Not thread-safe. All throw Error when the server does not answer.
class ControlClient {
 public:
  explicit ControlClient(const Places& places);
  ~ControlClient();
  ControlClient(const ControlClient&) = delete;
  ControlClient& operator=(const ControlClient&) = delete;

  // Once, first.
  wire::DiskState attach(const wire::DiskAttach& attach);
  wire::DiskState ask(bool begin_epochs = false);

 private:
  wire::DiskState exchange(wire::Message message, Duration timeout);

  const std::string path_;
  int socket_ = -1;
  std::optional<wire::FdChannel> channel_;
};

}  // namespace specrep::disk
