#pragma once

#include <string>
#include <vector>

// What the hotplug script of replicated disks and specrep-disk have in common. Of no library of
// ours, so that the script starts at once. All throw std::runtime_error.

struct xs_handle;

namespace specrep::tools {

class Store {
 public:
  Store();
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Empty when there is none.
  std::string read(const std::string& path) const;
  std::vector<std::string> list(const std::string& path) const;
  void write(const std::string& path, const std::string& value);
  void remove(const std::string& path);

 private:
  xs_handle* const xs_;
};

// So that no server is stopped that another guest has just been promised.
class DiskLock {
 public:
  explicit DiskLock(std::string disk);
  ~DiskLock();
  DiskLock(const DiskLock&) = delete;
  DiskLock& operator=(const DiskLock&) = delete;

 private:
  int file_;
};

struct DiskUser {
  std::string domid, mode;
};

// Which guest a domain is; a device model in a domain of its own is its guest's. Empty: the domain
// is gone, or it is dom0.
std::string guest_of(const Store& store, const std::string& domid);

// Who has the disk through its server; `except`: the folder in xenstore of one that does not count.
std::vector<DiskUser> disk_users(const Store& store, const std::string& disk,
                                 const std::string& except = {});

// Whether dom0 has mounted a device, or a part of it.
bool is_mounted(const std::string& device);

// Runs specrep-diskd, with an option or nullptr; returns what it prints. What it complains of is
// thrown.
std::string run_diskd(const char* option, const std::string& path);

}  // namespace specrep::tools
