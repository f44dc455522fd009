#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "libspecrep/pool/config.h"
#include "libspecrep/pool/file.h"

namespace specrep::pool {

namespace {

// Closes its descriptor.
struct File {
  explicit File(int opened) : fd(opened) {}
  ~File() {
    if (fd >= 0) close(fd);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const int fd;
};

Error failed(const std::string& what, const std::string& path, std::string advice = {}) {
  return Error(errno_text("cannot " + what + " " + path), std::move(advice));
}

}  // namespace

std::string read_file(const std::string& path, std::size_t bytes_max, const std::string& advice) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) throw failed("read", path, advice);
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = read(file.fd, buffer, sizeof buffer)) != 0;) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw failed("read", path, advice);
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > bytes_max)
      throw Error(path + " is larger than " + std::to_string(bytes_max >> 10) + " KiB", advice);
  }
  return text;
}

void replace_file(const std::string& path, const std::string& text, unsigned mode) {
  const std::string folder = std::filesystem::path(path).parent_path();
  const std::string advice = "it takes root, and a folder that can be written to";
  std::error_code error;
  std::filesystem::create_directories(folder, error);  // open() tells if that failed
  std::string temporary = path + ".XXXXXX";
  const File file(mkostemp(temporary.data(), O_CLOEXEC));
  if (file.fd < 0) throw failed("write in", folder, advice);
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t got = write(file.fd, text.data() + written, text.size() - written);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    written += static_cast<std::size_t>(got);
  }
  if (written < text.size() || fchmod(file.fd, mode) != 0 || fsync(file.fd) != 0 ||
      rename(temporary.c_str(), path.c_str()) != 0) {
    const Error why = failed("write", path, advice);
    unlink(temporary.c_str());
    throw why;
  }
  const File parent(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.fd < 0 || fsync(parent.fd) != 0) throw failed("write", folder, advice);
}

std::string load_text(const std::string& path) {
  return read_file(path, kConfigBytesMax,
                   "`specrep-pool init` makes a pool, `specrep-pool join HOST` joins one");
}

void save_text(const std::string& text, const std::string& path) { replace_file(path, text, 0644); }

}  // namespace specrep::pool
