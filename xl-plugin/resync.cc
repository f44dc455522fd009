// xl remus-spec-resync: what `specrep-disk resync` runs, since the other host is reached from here.

#include <algorithm>
#include <functional>
#include <optional>
#include <thread>

#include "libspecrep/disk/control_client.h"
#include "libspecrep/disk/intent_bitmap.h"
#include "libspecrep/error.h"
#include "libspecrep/wire/tls_link.h"
#include "xl-plugin/command.h"
#include "xl-plugin/console.h"
#include "xl-plugin/far_side.h"

namespace specrep::xl {

namespace {

using namespace std::chrono_literals;

// The server takes marks off every few seconds; one of an earlier version does not tell.
constexpr auto kPoll = 100ms, kForgetMax = 30'000ms;
constexpr std::uint32_t kHeartbeatMs = 1000, kSilenceMaxMs = 10'000;
// Of what the copy has not written yet; the sender waits then.
constexpr std::uint64_t kStagingBytesMax = std::uint64_t{256} << 20;

// Asks the disk's server until `done`, and shows how far it is. A signal ends it.
void wait_for(disk::ControlClient& server, const std::string& path, SignalFd& signals,
              Console& console, const std::function<bool(const wire::DiskState&)>& done) {
  for (std::uint64_t all = 0;; std::this_thread::sleep_for(kPoll)) {
    const wire::DiskState state = server.ask();
    if (done(state)) return;
    if (!state.lost().empty())
      throw Error("the other host does not follow the disk " + path + ": " + state.lost());
    const std::uint64_t left = state.chunks_to_send() * disk::IntentBitmap::kChunkBytes;
    all = std::max(all, left);
    if (all > 0) console.copy_progress({path, all - left, all});
    if (const int signal = signals.take()) throw Interrupted{signal};
  }
}

}  // namespace

int resync(int argc, char** argv) {
  CLI::App app("Brings another host's copy of a disk up to date, without protecting a guest.",
               "specrep-disk resync");
  std::string path, host, address;
  std::optional<std::string> ssh;
  std::uint64_t rate_mib = 0;
  app.add_option("PATH", path, "the disk, as the guest's configuration names it")->required();
  app.add_option("HOST", host, "where the copy is")->required();
  app.add_option("-s,--ssh", ssh, "the command that reaches the other host [ssh]");
  app.add_option("--address", address, "the other host's address for the disk's link");
  app.add_option("--rate", rate_mib, "how much is copied at most, in MiB/s [no limit]");
  if (const auto status = parse(app, argc, argv)) return *status;

  Console console("remus-spec-resync", false);
  SignalFd signals;
  // First, since most of what can be wrong is wrong with it.
  disk::ControlClient server{disk::Places(path)};
  FarSide far_side(host, ssh, signals);
  far_side.greet();
  const wire::PreSharedKey key = wire::make_pre_shared_key();
  wire::FollowDisk request;
  request.mutable_disk()->set_path(path);
  request.mutable_disk()->set_pre_shared_key(key.data(), key.size());
  request.set_disk_staging_bytes_max(kStagingBytesMax);
  request.set_heartbeat_interval_ms(kHeartbeatMs);
  std::vector<std::string> addresses;
  wire::DiskAttach attach;
  attach.set_port(far_side.follow(request, addresses));
  if (!address.empty()) addresses = {address};
  if (addresses.empty())
    throw UsageError{host + " does not say at which address it can be reached",
                     "give it with --address"};
  *attach.mutable_addresses() = {addresses.begin(), addresses.end()};
  attach.set_pre_shared_key(key.data(), key.size());
  attach.set_heartbeat_interval_ms(kHeartbeatMs);
  attach.set_heartbeat_timeout_ms(kSilenceMaxMs);
  attach.set_resync_bytes_per_s(rate_mib << 20);
  if (const std::string lost = server.attach(attach).lost(); !lost.empty())
    throw Error("the disk " + path + ": " + lost);

  try {
    wait_for(server, path, signals, console,
             [](const wire::DiskState& state) { return state.in_sync(); });
    const std::uint64_t mark = server.ask().mark();
    wait_for(server, path, signals, console,
             [&](const wire::DiskState& state) { return state.held() >= mark; });
    far_side.followed(mark);
    // What is marked would be sent again the next time. A guest that writes makes new marks.
    const auto until = std::chrono::steady_clock::now() + kForgetMax;
    wait_for(server, path, signals, console, [&](const wire::DiskState& state) {
      return state.forgotten() >= mark || !state.lost().empty() ||
             std::chrono::steady_clock::now() > until;
    });
  } catch (const Interrupted& interrupted) {
    console.error("interrupted; what is missing on " + host + " is sent the next time");
    return 128 + interrupted.signal;
  }
  console.say(path + " is the same on " + host + ", but for what is being written here");
  return kOk;
}

}  // namespace specrep::xl
