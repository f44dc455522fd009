#pragma once

#include <atomic>
#include <condition_variable>
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
// protocol: answers at the disk's control socket, each connection on a thread of its own. One at a
// time can attach. Only root can reach the socket.
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
  struct Connection {
    std::thread thread;
    std::atomic<bool> ended = false;
  };

  void run();
  void serve(int connection);
  wire::Message answer(const wire::Envelope& question, std::unique_ptr<Mirror>& mirror);
  std::unique_ptr<Mirror> attach(const wire::DiskAttach& attach);
  void detach(std::unique_ptr<Mirror> mirror);
  wire::Message answer_asker();
  void fill(wire::DiskState& state, Mirror& mirror) const;

  Source& source_;
  const std::string path_;
  Record record_;
  const KeepRecord keep_;
  const std::string socket_path_;
  int listening_ = -1;
  std::atomic<bool> over_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool taken_ = false;        // by a connection that attaches, or has
  Mirror* mirror_ = nullptr;  // that connection's
  std::thread thread_;
};

}  // namespace specrep::disk
