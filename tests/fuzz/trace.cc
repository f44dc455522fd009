// A trace file from anywhere: read to its end or refused, without more memory than it may take.

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "input.h"
#include "libspecrep/trace/trace.h"

using namespace specrep;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string path = "/dev/shm/specrep-fuzz-" + std::to_string(getpid()) + ".trace";
  {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  }
  try {
    trace::Reader reader(path);
    trace::Sample sample;
    std::uint64_t last_us = 0;
    bool first = true;
    while (reader.next(sample)) {
      fuzz::require(first || sample.time_us > last_us, "samples ascend");
      last_us = sample.time_us;
      first = false;
      for (std::size_t i = 0; i < sample.pages.size(); ++i) {
        fuzz::require(sample.pages[i].gfn < reader.header().gfn_count(), "a page is the guest's");
        fuzz::require(i == 0 || sample.pages[i].gfn > sample.pages[i - 1].gfn, "pages ascend");
      }
    }
  } catch (const Error&) {
  }
  std::filesystem::remove(path);
  return 0;
}
