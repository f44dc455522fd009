// What a host finds of a disk after a crash, damaged in any way: record, write-intent bitmap and
// journal are read or refused; nothing outside of the disk is written.

#include "disk_copy.h"
#include "input.h"
#include "libspecrep/disk/intent_bitmap.h"
#include "libspecrep/disk/journal.h"
#include "libspecrep/disk/record.h"

using namespace specrep;

namespace {

void put(const std::string& path, const std::vector<std::byte>& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size()));
}

// The files that a journal really has, damaged where the input says.
void damage_journal(FuzzedDataProvider& input, const disk::Places& places) {
  disk::Journal journal(places);
  const auto writes = input.ConsumeIntegralInRange<std::uint64_t>(1, 8);
  for (std::uint64_t number = 1; number <= writes; ++number)
    journal.append({number,
                    {input.ConsumeIntegralInRange<std::uint64_t>(0, 4096) * 512, 512},
                    std::vector<std::byte>(input.ConsumeBool() ? 512 : 0)});
  journal.sync();
  for (const auto& entry : std::filesystem::directory_iterator(fuzz::DiskCopy::get().folder)) {
    if (!entry.path().string().starts_with(places.journal)) continue;
    const auto bytes = entry.file_size();
    if (bytes == 0) continue;
    std::fstream file(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
    for (auto damages = input.ConsumeIntegralInRange(0, 4); damages > 0; --damages) {
      file.seekp(static_cast<std::streamoff>(
          input.ConsumeIntegralInRange<std::uint64_t>(0, bytes - 1)));
      file.put(static_cast<char>(input.ConsumeIntegral<std::uint8_t>()));
    }
    file.close();
    if (input.ConsumeBool())
      std::filesystem::resize_file(entry.path(),
                                   input.ConsumeIntegralInRange<std::uint64_t>(0, bytes));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  const fuzz::DiskCopy& copy = fuzz::DiskCopy::get();
  copy.forget();
  const disk::Places places(copy.disk);
  const int what = input.ConsumeIntegralInRange(0, 3);
  try {
    if (what == 0) {
      put(places.record, input.ConsumeRemainingBytes<std::byte>());
      const auto record = disk::load_record(places);
      disk::check_own(places, record);
    } else if (what == 1) {
      put(places.bitmap, input.ConsumeRemainingBytes<std::byte>());
      disk::IntentBitmap bitmap(places.bitmap, fuzz::DiskCopy::kBytes);
      fuzz::require(bitmap.marked() <= bitmap.chunks(), "no more is marked than there is");
    } else {
      if (what == 2)
        damage_journal(input, places);
      else
        put(places.journal + ".0", input.ConsumeRemainingBytes<std::byte>());
      const auto backing = disk::open_backing(copy.disk);
      disk::Journal::replay(places, *backing);
    }
  } catch (const Error&) {
  }
  fuzz::require(std::filesystem::file_size(copy.disk) == fuzz::DiskCopy::kBytes,
                "a disk keeps its size");
  return 0;
}
