#include "libspecrep/arbiter/arbiter.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>

#include "libspecrep/arbiter/fence_store.h"
#include "libspecrep/error.h"

namespace specrep {
namespace arbiter {
namespace {

constexpr std::size_t kClaimantBytesMax = 255;
// Below this even a healthy etcd does not answer reliably (it writes to its disks).
constexpr Duration kTimeoutMin = std::chrono::milliseconds(100);

// Also a part of a file's name and of an etcd key, so nothing but the canonical form gets through.
std::string canonical_uuid(std::string uuid) {
  bool good = uuid.size() == 36;
  for (std::size_t i = 0; good && i < uuid.size(); ++i) {
    char& c = uuid[i];
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    good = dash ? c == '-' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  }
  if (!good) throw Error("asking the arbiter: '" + uuid + "' is not the UUID of a guest");
  return uuid;
}

bool is_claimant(const std::string& text) {
  return !text.empty() && text.size() <= kClaimantBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

void check_claimant(const std::string& claimant) {
  if (!is_claimant(claimant))
    throw Error("asking the arbiter: '" + claimant + "' is not a claimant's name",
                "give 1 to 255 printable ASCII characters, as /etc/machine-id has");
}

std::uint64_t wall_clock_us() {
  using Us = std::chrono::microseconds;
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::max<Us::rep>(1, std::chrono::duration_cast<Us>(since_1970).count()));
}

// What is granted to whom; where it is kept is the store's affair.
class FencingArbiter final : public Arbiter {
 public:
  FencingArbiter(std::unique_ptr<FenceStore> store, Duration timeout,
                 std::function<std::uint64_t()> wall_clock_us)
      : store_(std::move(store)), timeout_(timeout), wall_clock_us_(std::move(wall_clock_us)) {}

  std::uint64_t open(const std::string& guest_uuid, const std::string& claimant) override {
    const std::string uuid = canonical_uuid(guest_uuid);
    check_claimant(claimant);
    const auto change = [uuid, claimant, wall_clock_us = wall_clock_us_,
                         remove = store_->how_to_remove(uuid)](
                            const std::optional<Fence>& newest) -> std::optional<Fence> {
      if (!newest) return Fence{wall_clock_us(), ""};
      if (!newest->holder.empty() && newest->holder != claimant)
        throw Error("the arbiter has granted guest " + uuid + " to " + newest->holder +
                        ", which may be running it: it must not be protected from here",
                    "see that the guest runs nowhere but here, then " + remove);
      if (newest->generation == std::numeric_limits<std::uint64_t>::max())
        throw Error("the arbiter's generations of guest " + uuid + " are used up",
                    "see that the guest runs nowhere but here, then " + remove);
      return Fence{std::max(newest->generation + 1, wall_clock_us()), ""};
    };
    const auto opened = store_->update(uuid, change, deadline());
    if (!opened) throw Error("the arbiter made no generation for guest " + uuid);
    return opened->generation;
  }

  bool claim(const std::string& guest_uuid, std::uint64_t generation,
             const std::string& claimant) override {
    const std::string uuid = canonical_uuid(guest_uuid);
    check_claimant(claimant);
    const auto change = [uuid, generation,
                         claimant](const std::optional<Fence>& newest) -> std::optional<Fence> {
      // Storage that is not mounted here, or was put back to an earlier state: it cannot say
      // who has the guest.
      if (!newest || newest->generation < generation)
        throw Error(
            "the arbiter does not know generation " + std::to_string(generation) + " of guest " +
                uuid + (newest ? "; its newest is " + std::to_string(newest->generation) : ""),
            "see that both hosts use the same etcd cluster or shared folder (is it mounted?)");
      if (newest->generation > generation) return std::nullopt;
      if (!newest->holder.empty() && newest->holder != claimant) return std::nullopt;
      // Written again even if it is there already: only a write proves that this record is still
      // the newest, and that it is durable.
      return Fence{generation, claimant};
    };
    return store_->update(uuid, change, deadline()).has_value();
  }

 private:
  TimePoint deadline() const { return std::chrono::steady_clock::now() + timeout_; }

  const std::unique_ptr<FenceStore> store_;
  const Duration timeout_;
  const std::function<std::uint64_t()> wall_clock_us_;
};

}  // namespace

std::string encode_fence(const Fence& fence) {
  return nlohmann::json{{"generation", fence.generation}, {"holder", fence.holder}}.dump();
}

Fence decode_fence(const std::string& text, const std::string& where, const std::string& advice) {
  const auto json = text.size() > kRecordBytesMax
                        ? nlohmann::json()
                        : nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  // Strict, since a field that we do not know could take back what the others say.
  if (json.is_object() && json.size() == 2 && json.contains("generation") &&
      json.contains("holder") && json["generation"].is_number_unsigned() &&
      json["holder"].is_string()) {
    Fence fence{json["generation"].get<std::uint64_t>(), json["holder"].get<std::string>()};
    if (fence.generation != 0 && (fence.holder.empty() || is_claimant(fence.holder))) return fence;
  }
  throw Error("the arbiter's record in " + where + " is damaged", advice);
}

std::unique_ptr<FenceStore> make_store(const std::string& url) {
  const auto colon = url.find(':');
  const std::string kind = url.substr(0, colon);
  const std::string location = colon == std::string::npos ? "" : url.substr(colon + 1);
  if (kind == "etcd") return make_etcd_store(location);
  if (kind == "file") return make_file_store(location);
  throw Error("'" + url + "' is not an arbiter",
              "give etcd:http://HOST:PORT[,http://HOST:PORT...] or file:/FOLDER, a folder that "
              "both hosts see");
}

std::unique_ptr<Arbiter> make_arbiter(std::unique_ptr<FenceStore> store, Duration timeout,
                                      std::function<std::uint64_t()> wall_clock_us) {
  return std::make_unique<FencingArbiter>(std::move(store), timeout, std::move(wall_clock_us));
}

}  // namespace arbiter

std::unique_ptr<Arbiter> make_arbiter(const std::string& url, Duration timeout) {
  if (timeout < arbiter::kTimeoutMin)
    throw Error("a timeout of " + std::to_string(milliseconds(timeout)) +
                    " ms is too short for the arbiter",
                "give at least 100 ms");
  return arbiter::make_arbiter(arbiter::make_store(url), timeout, arbiter::wall_clock_us);
}

}  // namespace specrep
