#include "xl-plugin/paths.h"

#include <cstdlib>

namespace specrep::xl {

std::string program_path(const std::string& name) {
  const char* folder = std::getenv("SPECREP_LIBEXEC");
  return std::string(folder && *folder ? folder : SPECREP_EXEC_DIR) + "/" + name;
}

}  // namespace specrep::xl
