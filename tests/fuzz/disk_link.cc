// The backup's end of a disk's link under a hostile primary that holds the key: nothing outside of
// the disk is written, what waits is bounded, and a copy that is not whole is never promoted.

#include "disk_copy.h"
#include "input.h"
#include "libspecrep/disk/disk_link.h"
#include "scripted_link.h"

using namespace specrep;

namespace {

constexpr std::size_t kStagingBytesMax = 64 << 10;
constexpr unsigned kMessagesMax = 24;

wire::Message next_message(FuzzedDataProvider& input, std::uint64_t& number) {
  const fuzz::DiskCopy& copy = fuzz::DiskCopy::get();
  wire::Message message;
  switch (input.ConsumeIntegralInRange(0, 6)) {
    case 0: {
      wire::DiskHello& hello = *message.envelope.mutable_disk_hello();
      hello.set_path(copy.disk);
      hello.set_size_bytes(input.ConsumeIntegral<std::uint8_t>() < 16 ? fuzz::number(input, 9)
                                                                      : fuzz::DiskCopy::kBytes);
      hello.set_generation(input.ConsumeBool() ? std::string(16, 'g')
                                               : input.ConsumeRandomLengthString(17));
      if (input.ConsumeBool()) hello.set_base_generation(std::string(16, 'b'));
      hello.set_sector_bytes(input.ConsumeIntegral<std::uint8_t>() < 16
                                 ? static_cast<std::uint32_t>(fuzz::number(input, 4096))
                                 : 512);
      if (input.ConsumeIntegral<std::uint8_t>() < 32)
        hello.set_storage_mark(input.ConsumeRandomLengthString(40));
      break;
    }
    case 1:
    case 2:
    case 3: {
      wire::DiskWrite& write = *message.envelope.mutable_disk_write();
      write.set_number(input.ConsumeIntegral<std::uint8_t>() < 16 ? fuzz::number(input, 9)
                                                                  : ++number);
      write.set_offset(fuzz::number(input, fuzz::DiskCopy::kBytes));
      write.set_length(fuzz::number(input, 70'000));
      if (input.ConsumeBool()) {
        if (write.length() <= 70'000 && input.ConsumeIntegral<std::uint8_t>() >= 16)
          message.payload.resize(write.length());
        else
          message.payload = fuzz::bytes(input, 64);
      }
      break;
    }
    case 4:
      message.envelope.mutable_disk_epochs_begin();
      break;
    default:
      message = fuzz::any_message(input);
  }
  return message;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  const fuzz::DiskCopy& copy = fuzz::DiskCopy::get();
  copy.forget();
  ManualClock clock;
  fuzz::ScriptedLink link(clock);
  disk::TargetEnd end(copy.disk, link, kStagingBytesMax, input.ConsumeBool(), [] {});
  bool activated = false;
  try {
    std::uint64_t number = 0;
    for (unsigned rounds = 0; rounds < 3; ++rounds) {
      for (unsigned n = 0; n < kMessagesMax && input.remaining_bytes() > 0; ++n)
        link.put(next_message(input, number));
      end.run();  // until the link has no more
      if (end.failure()) return 0;
      if (input.ConsumeBool()) end.commit(input.ConsumeBool() ? end.held() : fuzz::number(input, 9));
    }
    if (input.ConsumeBool()) {
      end.settle();
    } else {
      end.activate();
      activated = true;
    }
  } catch (const Error&) {
  }
  fuzz::require(std::filesystem::file_size(copy.disk) == fuzz::DiskCopy::kBytes,
                "a disk keeps its size");
  if (activated) {
    const auto record = disk::load_record(disk::Places(copy.disk));
    fuzz::require(record && record->role == disk::Record::Role::kOwn,
                  "what is activated is this host's own");
  }
  return 0;
}
