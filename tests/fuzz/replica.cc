// The backup under a hostile primary that holds the key: whatever comes, memory is bounded, only
// pages of the guest are handed on, only with a complete epoch, and nothing is activated before one.

#include <map>

#include "input.h"
#include "libspecrep/replica/replica.h"
#include "scripted_link.h"

using namespace specrep;

namespace {

constexpr Gfn kGfnCount = 64;
constexpr std::size_t kStagingBytesMax = 2 << 20;
constexpr unsigned kMessagesMax = 40;

class Restorer final : public replica::Restorer {
 public:
  void begin(const wire::Start& start, std::vector<std::byte>) override {
    fuzz::require(!begun, "a guest begins once");
    begun = true;
    gfn_count = start.gfn_count();
  }
  void load(wire::Message message, Gfn count) override {
    fuzz::require(begun && applied == 0, "the first copy comes before the first epoch");
    fuzz::require(count == gfn_count, "the guest's size stays");
    wire::PageDecoder(count, 0).decode(message, [&](Gfn gfn, const std::byte*) {
      fuzz::require(gfn < gfn_count, "a page is the guest's");
    });
  }
  void apply(replica::CommittedEpoch epoch) override {
    fuzz::require(begun && !decided, "an epoch is of a guest that waits");
    fuzz::require(epoch.epoch == applied + 1, "epochs come in order");
    applied = epoch.epoch;
    for (const auto& page : epoch.pages.sorted())
      fuzz::require(page.gfn < gfn_count, "a page is the guest's");
    fuzz::require(epoch.bytes() <= kStagingBytesMax, "what waits of an epoch is bounded");
  }
  replica::Comparison compare(const wire::DigestsView&) override { return {}; }
  std::uint64_t queued_epochs() const override { return 0; }
  void activate() override { fuzz::require(false, "only the caller activates"); }
  void discard() noexcept override { decided = true; }

  bool begun = false, decided = false;
  Gfn gfn_count = 0;
  Epoch applied = 0;
};

// A primary that mostly does what it should, so that what comes late is reached.
wire::Message next_message(FuzzedDataProvider& input, Epoch& epoch, std::uint64_t& versions) {
  wire::Message message;
  switch (input.ConsumeIntegralInRange(0, 9)) {
    case 0: {
      wire::Start& start = *message.envelope.mutable_start();
      start.set_guest_name(input.ConsumeIntegral<std::uint8_t>() < 16
                               ? input.ConsumeRandomLengthString(16)
                               : "g");
      start.set_guest_uuid(input.ConsumeBool() ? std::string(16, 'u')
                                               : input.ConsumeRandomLengthString(20));
      start.set_kind(static_cast<wire::GuestKind>(input.ConsumeIntegralInRange(0, 4)));
      start.set_gfn_count(fuzz::number(input, kGfnCount));
      start.set_domain_config_json("{}");
      start.set_cache_pages(static_cast<std::uint32_t>(fuzz::number(input, 16)));
      message.payload = fuzz::bytes(input, 16);
      break;
    }
    case 1:
    case 2:
    case 3:
    case 4: {
      wire::Pages& pages = *message.envelope.mutable_pages();
      pages.set_epoch(input.ConsumeIntegral<std::uint8_t>() < 16 ? fuzz::number(input, 4) : epoch);
      const auto count = input.ConsumeIntegralInRange<unsigned>(0, 5);
      for (unsigned i = 0; i < count; ++i) {
        pages.add_gfn_delta(fuzz::number(input, 8) + (i > 0));
        const bool raw = input.ConsumeIntegral<std::uint8_t>() < 64;
        pages.add_encoding(raw ? wire::RAW
                               : static_cast<wire::PageEncoding>(input.ConsumeIntegralInRange(1, 4)));
        if (raw) message.payload.resize(message.payload.size() + kPageBytes, std::byte{7});
      }
      versions += count;
      break;
    }
    case 5:
    case 6: {
      wire::Checkpoint& checkpoint = *message.envelope.mutable_checkpoint();
      checkpoint.set_epoch(input.ConsumeIntegral<std::uint8_t>() < 16 ? fuzz::number(input, 4)
                                                                      : epoch + (epoch == 0));
      checkpoint.set_pages(input.ConsumeIntegral<std::uint8_t>() < 16 ? fuzz::number(input, 9)
                           : epoch == 0                               ? 0
                                                                      : versions);
      message.payload = fuzz::bytes(input, 24);
      const auto size = static_cast<std::uint32_t>(message.payload.size());
      checkpoint.set_hypervisor_bytes(
          input.ConsumeBool() ? size : static_cast<std::uint32_t>(fuzz::number(input, 24)));
      epoch += 1 + (epoch == 0);
      versions = 0;
      for (auto n = input.ConsumeIntegralInRange<unsigned>(0, 2); n > 0; --n) {
        wire::CardAddress& card = *checkpoint.add_addresses();
        card.set_mac(input.ConsumeBool() ? std::string(6, 'm') : input.ConsumeRandomLengthString(8));
        card.set_address(input.ConsumeBool() ? std::string(4, 'a')
                                             : input.ConsumeRandomLengthString(17));
      }
      if (input.ConsumeIntegral<std::uint8_t>() < 16) checkpoint.add_disk_marks(1);
      break;
    }
    case 7: {
      wire::Digests& digests = *message.envelope.mutable_digests();
      digests.set_epoch(epoch);
      digests.add_run_gfn_delta(fuzz::number(input, 8));
      digests.add_run_length(fuzz::number(input, 4));
      digests.set_last(input.ConsumeBool());
      message.payload.resize(input.ConsumeIntegralInRange<std::size_t>(0, 5) * 16);
      break;
    }
    case 8:
      message.envelope.mutable_stop()->set_reason(input.ConsumeRandomLengthString(8));
      break;
    default:
      message = fuzz::any_message(input);
  }
  return message;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  ManualClock clock;
  fuzz::ScriptedLink link(clock);
  Restorer restorer;
  replica::NoDiskCopies disks;
  replica::ReplicaOptions options;
  options.guest_name = "g";
  options.guest_uuid = std::string(16, 'u');
  options.staging_bytes_max = kStagingBytesMax;
  options.delta_cache_bytes_max = 16 * kPageBytes;
  replica::Replica replica(link, restorer, disks, clock, options);
  Epoch epoch = 0;
  std::uint64_t versions = 0;
  try {
    for (unsigned n = 0; n < kMessagesMax && input.remaining_bytes() > 0; ++n) {
      link.put(next_message(input, epoch, versions));
      replica.step();
      replica.handle(link.wait({}));
      fuzz::require(replica.committed() == restorer.applied, "what is committed is handed on");
      fuzz::require(replica.state() != replica::Replica::State::kActivate,
                    "nobody who speaks is taken over");
      if (replica.decided()) return 0;
    }
    replica.handle(link.wait({}));
    clock.advance(std::chrono::hours(1));
    replica.step();
  } catch (const Error&) {
    return 0;
  }
  fuzz::require(replica.state() != replica::Replica::State::kActivate || replica.committed() >= 1,
                "what is activated was committed");
  return 0;
}
