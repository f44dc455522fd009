#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "libspecrep/disk/disk_link.h"
#include "libspecrep/wire/fd_channel.h"
#include "libspecrep/wire/tls_link.h"

namespace specrep::disk {

// Lets specrep-primary of this host have a disk followed by the backup, see DiskAttach in the
// protocol: answers at the disk's control socket, one connection after the other, on a thread of
// its own. Only root can reach the socket.
class ControlServer {
 public:
  // source must outlive this. `path`, `record` and `keep`: see SourceEnd. Throws Error.
  ControlServer(Source& source, std::string path, const Record& record, KeepRecord keep);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  // The way to the backup, for as long as one connection lasts.
  struct Mirror;

  void run();
  void serve(int connection);
  wire::Message answer(const wire::Envelope& question, std::unique_ptr<Mirror>& mirror);

  Source& source_;
  const std::string path_;
  Record record_;
  const KeepRecord keep_;
  const std::string socket_path_;
  int listening_ = -1;
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

}  // namespace specrep::disk
