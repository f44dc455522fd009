#include "libspecrep/xen/host.h"

#include <unistd.h>

#include <fstream>

namespace specrep::xen {

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

std::string claimant() {
  std::string id;
  std::ifstream("/etc/machine-id") >> id;
  // Hosts that were cloned from one image may share either, hardly both.
  return host_name().substr(0, 200) + "/" + id.substr(0, 32);
}

}  // namespace specrep::xen
