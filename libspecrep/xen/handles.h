#pragma once

extern "C" {
#include <xenctrl.h>
#include <xendevicemodel.h>
#include <xenforeignmemory.h>
#include <xenstore.h>
}

#include <optional>
#include <string>
#include <vector>

#include "libspecrep/xen/libxl_headers.h"

namespace specrep::xen {

// Owners of the handles of Xen's libraries. Each opens in its constructor and throws Error
// with advice when that fails (not in a dom0, not root, xenstored not running).
// None is thread-safe unless said: give each thread its own.
class Xenctrl {
 public:
  Xenctrl();
  ~Xenctrl();
  Xenctrl(const Xenctrl&) = delete;
  Xenctrl& operator=(const Xenctrl&) = delete;
  xc_interface* get() const { return handle_; }

 private:
  xc_interface* handle_;
};

class ForeignMemory {
 public:
  ForeignMemory();
  ~ForeignMemory();
  ForeignMemory(const ForeignMemory&) = delete;
  ForeignMemory& operator=(const ForeignMemory&) = delete;
  xenforeignmemory_handle* get() const { return handle_; }

 private:
  xenforeignmemory_handle* handle_;
};

class DeviceModelCalls {
 public:
  DeviceModelCalls();
  ~DeviceModelCalls();
  DeviceModelCalls(const DeviceModelCalls&) = delete;
  DeviceModelCalls& operator=(const DeviceModelCalls&) = delete;
  xendevicemodel_handle* get() const { return handle_; }

 private:
  xendevicemodel_handle* handle_;
};

class Xenstore {
 public:
  Xenstore();
  ~Xenstore();
  Xenstore(const Xenstore&) = delete;
  Xenstore& operator=(const Xenstore&) = delete;
  xs_handle* get() const { return handle_; }

  // Nothing when the node does not exist; throws Error for anything else.
  std::optional<std::string> read(const std::string& path, xs_transaction_t t = XBT_NULL) const;
  void write(const std::string& path, const std::string& value, xs_transaction_t t = XBT_NULL);
  // Not an error when it does not exist.
  void remove(const std::string& path);
  std::vector<std::string> directory(const std::string& path) const;

 private:
  xs_handle* handle_;
};

// A libxl context. libxl's own messages of level `level` and worse go to stderr, those of
// warnings and errors by default. libxl contexts are thread-safe.
class Libxl {
 public:
  explicit Libxl(xentoollog_level level = XTL_WARN);
  ~Libxl();
  Libxl(const Libxl&) = delete;
  Libxl& operator=(const Libxl&) = delete;
  libxl_ctx* get() const { return ctx_; }

 private:
  xentoollog_logger_stdiostream* logger_;
  libxl_ctx* ctx_;
};

}  // namespace specrep::xen
