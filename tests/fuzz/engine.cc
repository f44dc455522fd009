// The primary under a hostile backup: whatever it answers, the guest is not left stopped, and no
// output leaves but that of epochs in order.

#include "input.h"
#include "libspecrep/epoch/primary_engine.h"
#include "scripted_link.h"
#include "tests/unit/sim.h"

using namespace specrep;

namespace {

constexpr Gfn kPages = 16;
constexpr unsigned kStepsMax = 60;

wire::Message answer(FuzzedDataProvider& input, Epoch epoch) {
  wire::Message message;
  switch (input.ConsumeIntegralInRange(0, 6)) {
    case 0:
      message.envelope.mutable_started()->set_domid(1);
      break;
    case 1:
    case 2:
    case 3:
      message.envelope.mutable_commit()->set_epoch(
          input.ConsumeIntegral<std::uint8_t>() < 16 ? fuzz::number(input, 8) : epoch);
      break;
    case 4: {
      wire::Verified& verified = *message.envelope.mutable_verified();
      verified.set_epoch(fuzz::number(input, 8));
      verified.set_pages_compared(fuzz::number(input, 8));
      break;
    }
    case 5:
      if (input.ConsumeBool())
        message.envelope.mutable_stopped();
      else
        message.envelope.mutable_failure()->set_what(input.ConsumeRandomLengthString(20));
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
  sim::Guest guest(clock, kPages);
  sim::Observer observer;
  sim::Output output;  // throws std::logic_error when something leaves out of order
  output.guest_stopped = [&] { return guest.stopped; };
  sim::Disks disks;
  epoch::PrimaryOptions options;
  options.guest_name = "g";
  options.delta_cache_pages = 4;
  options.verify_every = input.ConsumeIntegralInRange(0u, 3u);
  {
    epoch::PrimaryEngine engine(guest, link, output, disks, clock, options, observer);
    try {
      for (unsigned n = 0; n < kStepsMax && input.remaining_bytes() > 0 && !engine.ended(); ++n) {
        guest.write(input.ConsumeIntegralInRange<Gfn>(0, kPages - 1),
                    input.ConsumeIntegral<std::uint8_t>());
        output.send(static_cast<int>(n));
        clock.advance_to(engine.step());
        fuzz::require(!guest.stopped, "the guest runs between steps");
        if (input.ConsumeIntegral<std::uint8_t>() < 3) engine.request_stop("");
        if (input.ConsumeBool()) link.put(answer(input, engine.committed() + 1));
        while (!link.empty()) engine.handle(link.wait({}));
      }
    } catch (const Error&) {
    }
    fuzz::require(output.released <= output.ended, "only what has ended is released");
  }
  fuzz::require(!guest.stopped, "the guest is not left stopped");
  fuzz::require(!guest.logging, "its dirty log is off");
  return 0;
}
