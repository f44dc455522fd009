// Counts what stock Remus sends: stands in front of ssh (xl remus -s "stream-count LOG ssh"),
// passes the migration stream on unchanged, and writes a line "CHECKPOINT PAGES BYTES" to LOG
// for each checkpoint in it. PAGES carry data; BYTES is everything since the one before.
//
// The stream is xl's file header, then libxl's stream (docs/specs/libxl-migration-stream.pandoc
// in the Xen tree) with libxc's (libxc-migration-stream.pandoc) inside: after each libxc
// CHECKPOINT come libxl records up to CHECKPOINT_END, then libxc's go on.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

constexpr std::size_t kXlHeaderBytes = 48;     // magic 32, byte order, two flag words, length
constexpr std::size_t kXlLengthOffset = 44;    // of the optional data behind it
constexpr std::size_t kLibxlHeaderBytes = 16;  // ident, version, options
constexpr std::size_t kLibxcHeaderBytes = 24 + 16;  // image header, domain header
constexpr std::uint32_t kLibxlContext = 1, kLibxlCheckpointEnd = 4;
constexpr std::uint32_t kLibxcPageData = 1, kLibxcCheckpoint = 0xe;
constexpr std::size_t kPageBytes = 4096;

int output;
std::uint64_t bytes = 0;

// Reads exactly, passes on, gives the bytes back.
std::vector<unsigned char> pass(std::size_t count) {
  std::vector<unsigned char> data(count);
  for (std::size_t got = 0; got < count;) {
    const ssize_t n = read(STDIN_FILENO, data.data() + got, count - got);
    if (n <= 0) std::exit(0);  // xl has ended
    got += static_cast<std::size_t>(n);
  }
  for (std::size_t put = 0; put < count;) {
    const ssize_t n = write(output, data.data() + put, count - put);
    if (n <= 0) std::exit(1);
    put += static_cast<std::size_t>(n);
  }
  bytes += count;
  return data;
}

std::uint32_t word(const std::vector<unsigned char>& data, std::size_t offset) {
  std::uint32_t value;
  std::memcpy(&value, data.data() + offset, sizeof value);
  return value;
}

struct Record {
  std::uint32_t type;
  std::vector<unsigned char> body;
};

Record pass_record() {
  const auto header = pass(8);
  const std::uint32_t length = word(header, 4);
  return {word(header, 0), pass((length + 7) / 8 * 8)};
}

// Pages with data in a PAGE_DATA record: its size less header and list of pfns.
std::uint64_t pages_in(const Record& record) {
  const std::uint64_t count = word(record.body, 0);
  return (record.body.size() - 8 - 8 * count) / kPageBytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: stream-count LOG COMMAND...\n");
    return 2;
  }
  std::FILE* log = std::fopen(argv[1], "w");
  int ends[2];
  if (!log || pipe(ends)) return 1;
  if (fork() == 0) {
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    close(ends[1]);
    execvp(argv[2], argv + 2);
    _exit(127);
  }
  close(ends[0]);
  output = ends[1];

  pass(word(pass(kXlHeaderBytes), kXlLengthOffset));
  pass(kLibxlHeaderBytes);
  while (pass_record().type != kLibxlContext) {
  }
  pass(kLibxcHeaderBytes);
  std::uint64_t pages = 0;
  for (unsigned checkpoint = 0;;) {
    const Record record = pass_record();
    if (record.type == kLibxcPageData) pages += pages_in(record);
    if (record.type != kLibxcCheckpoint) continue;
    while (pass_record().type != kLibxlCheckpointEnd) {
    }
    std::fprintf(log, "%u %llu %llu\n", ++checkpoint, static_cast<unsigned long long>(pages),
                 static_cast<unsigned long long>(bytes));
    std::fflush(log);
    pages = bytes = 0;
  }
}
