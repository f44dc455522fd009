#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "libspecrep/arbiter/arbiter.h"
#include "libspecrep/clock.h"

namespace specrep::arbiter {

// What is kept under a key: a guest's UUID, or the name of anything else of which one may hold it.
struct Fence {
  std::uint64_t generation = 0;  // never 0
  std::string holder;            // empty: nobody
};

// As stored, in etcd and in files: {"generation":N,"holder":"..."}. Text that is anything else
// throws Error, with `where` it was found and `advice`.
std::string encode_fence(const Fence& fence);
Fence decode_fence(const std::string& text, const std::string& where, const std::string& advice);

// A record above this size was not written by us.
constexpr std::size_t kRecordBytesMax = 4096;

// Where the fences are kept, with compare-and-swap: the one seam between what an arbiter decides
// and how etcd and files do it.
class FenceStore {
 public:
  virtual ~FenceStore() = default;

  // Gets the newest record of the key (nothing when there is none) and says what to put in its
  // place; nothing leaves it. May be called several times in one update(), from another thread, and
  // even after update() threw: it must own all it refers to. What it throws, update() throws.
  using Change = std::function<std::optional<Fence>(const std::optional<Fence>&)>;

  // Replaces the record. What it returns, if anything, was put in the place of exactly the record
  // that `change` saw, and is durable. Throws Error when that cannot be said by the deadline;
  // the replacement may then have happened, or still happen.
  virtual std::optional<Fence> update(const std::string& key, Change change,
                                      TimePoint deadline) = 0;

  // How an operator who knows that the guest runs nowhere removes its record. A key is 1 to 100
  // letters, digits and dashes.
  virtual std::string how_to_remove(const std::string& key) const = 0;
};

// `location` is what follows "etcd:" or "file:" in an arbiter's URL.
std::unique_ptr<FenceStore> make_etcd_store(const std::string& location);
std::unique_ptr<FenceStore> make_file_store(const std::string& location);

// The one at an arbiter's URL; throws as specrep::make_arbiter() does.
std::unique_ptr<FenceStore> make_store(const std::string& url);

// Decides over `store`. timeout: see specrep::make_arbiter(). wall_clock_us: since 1970, for the
// numbers of new generations; not before 1.
std::unique_ptr<Arbiter> make_arbiter(std::unique_ptr<FenceStore> store, Duration timeout,
                                      std::function<std::uint64_t()> wall_clock_us);

}  // namespace specrep::arbiter
