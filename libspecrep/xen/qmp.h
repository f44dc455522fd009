#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace specrep::xen {

// A session with a domain's device model over QEMU's QMP, on the socket that libxl uses too.
// QEMU serves one client at a time there, so keep sessions short: libxl's own commands for the
// domain wait meanwhile.
class Qmp {
 public:
  // Connects and negotiates. Throws Error when there is no device model or it does not answer.
  // `folder` is where libxl has the socket made.
  explicit Qmp(std::uint32_t domid, const std::string& folder = "/var/run/xen");
  ~Qmp();
  Qmp(const Qmp&) = delete;
  Qmp& operator=(const Qmp&) = delete;

  // Runs a command and gives back what it returned, which may be any JSON. Throws Error with QEMU's
  // description, and when what comes is no reply, or none within 10 s.
  nlohmann::json execute(const std::string& command,
                         const nlohmann::json& arguments = nlohmann::json::object());

 private:
  std::string who() const;
  nlohmann::json read_reply(const std::string& doing);

  std::uint32_t domid_;
  int fd_;
  std::string buffer_;
};

// Has the device model keep no dirty log, whether it keeps one or not. Throws Error.
void drop_dirty_log(Qmp& device_model);

}  // namespace specrep::xen
