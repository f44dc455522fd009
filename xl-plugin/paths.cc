#include "xl-plugin/paths.h"

#include <cstdlib>

namespace specrep::xl {

std::string program_path(const std::string& name) {
  const char* folder = std::getenv("SPECREP_LIBEXEC");
  return std::string(folder && *folder ? folder : SPECREP_EXEC_DIR) + "/" + name;
}

std::string switchover_record(const std::string& guest_name) {
  return "/var/log/specrep/" + guest_name + ".switchover.json";
}

}  // namespace specrep::xl
