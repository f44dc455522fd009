#include "libspecrep/xen/handles.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "libspecrep/error.h"

namespace specrep::xen {

namespace {
constexpr const char* kNotDom0 = "run this as root in a Xen dom0";
}

Xenctrl::Xenctrl() : handle_(xc_interface_open(nullptr, nullptr, 0)) {
  if (!handle_) throw Error(errno_text("cannot open Xen's control interface"), kNotDom0);
}
Xenctrl::~Xenctrl() { xc_interface_close(handle_); }

ForeignMemory::ForeignMemory() : handle_(xenforeignmemory_open(nullptr, 0)) {
  if (!handle_) throw Error(errno_text("cannot open Xen's memory mapping device"), kNotDom0);
}
ForeignMemory::~ForeignMemory() { xenforeignmemory_close(handle_); }

DeviceModelCalls::DeviceModelCalls() : handle_(xendevicemodel_open(nullptr, 0)) {
  if (!handle_) throw Error(errno_text("cannot open Xen's device model interface"), kNotDom0);
}
DeviceModelCalls::~DeviceModelCalls() { xendevicemodel_close(handle_); }

Xenstore::Xenstore() : handle_(xs_open(0)) {
  if (!handle_)
    throw Error(errno_text("cannot connect to xenstore"),
                "is xenstored running? (systemctl status xen.service xenstored.service)");
}
Xenstore::~Xenstore() { xs_close(handle_); }

std::optional<std::string> Xenstore::read(const std::string& path, xs_transaction_t t) const {
  unsigned length = 0;
  char* value = static_cast<char*>(xs_read(handle_, t, path.c_str(), &length));
  if (!value) {
    if (errno == ENOENT) return std::nullopt;
    throw Error(errno_text("cannot read xenstore's " + path));
  }
  std::string result(value, length);
  std::free(value);
  return result;
}

void Xenstore::write(const std::string& path, const std::string& value, xs_transaction_t t) {
  if (!xs_write(handle_, t, path.c_str(), value.data(), static_cast<unsigned>(value.size())))
    throw Error(errno_text("cannot write xenstore's " + path));
}

void Xenstore::remove(const std::string& path) {
  if (!xs_rm(handle_, XBT_NULL, path.c_str()) && errno != ENOENT)
    throw Error(errno_text("cannot remove xenstore's " + path));
}

std::vector<std::string> Xenstore::directory(const std::string& path) const {
  unsigned count = 0;
  char** entries = xs_directory(handle_, XBT_NULL, path.c_str(), &count);
  std::vector<std::string> result;
  if (!entries) return result;
  for (unsigned i = 0; i < count; ++i) result.emplace_back(entries[i]);
  std::free(static_cast<void*>(entries));
  return result;
}

Libxl::Libxl(xentoollog_level level)
    : logger_(xtl_createlogger_stdiostream(stderr, level, 0)), ctx_(nullptr) {
  if (!logger_ ||
      libxl_ctx_alloc(&ctx_, LIBXL_VERSION, 0, reinterpret_cast<xentoollog_logger*>(logger_))) {
    if (logger_) xtl_logger_destroy(reinterpret_cast<xentoollog_logger*>(logger_));
    throw Error("cannot open libxl", kNotDom0);
  }
}
Libxl::~Libxl() {
  libxl_ctx_free(ctx_);
  xtl_logger_destroy(reinterpret_cast<xentoollog_logger*>(logger_));
}

}  // namespace specrep::xen
