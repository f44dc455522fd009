#pragma once

#include <string>

#include "libspecrep/error.h"
#include "libspecrep/xen/handles.h"

namespace specrep::xen {

// Owns a libxl_domain_config.
class DomainConfig {
 public:
  DomainConfig() { libxl_domain_config_init(&config_); }
  ~DomainConfig() { libxl_domain_config_dispose(&config_); }
  DomainConfig(const DomainConfig&) = delete;
  DomainConfig& operator=(const DomainConfig&) = delete;

  // Throws Error when the text is not what this libxl writes.
  void parse(const Libxl& libxl, const std::string& json) {
    if (libxl_domain_config_from_json(libxl.get(), &config_, json.c_str()) != 0)
      throw Error("libxl cannot read the guest's configuration",
                  "both hosts need the same version of Xen's tools");
  }

  libxl_domain_config* get() { return &config_; }
  const libxl_domain_config* operator->() const { return &config_; }
  libxl_domain_config* operator->() { return &config_; }

 private:
  libxl_domain_config config_;
};

}  // namespace specrep::xen
