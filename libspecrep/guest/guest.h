#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/error.h"
#include "libspecrep/guest/card_address.h"
#include "libspecrep/guest/page.h"
#include "libspecrep/guest/page_bitmap.h"

namespace specrep::guest {

// Everything of a stopped guest that is not its memory, in the form that the backup's Xen
// restores it from. Opaque to the core.
struct State {
  std::vector<std::byte> hypervisor;          // libxc records: TSC_INFO, HVM_CONTEXT, HVM_PARAMS
  std::vector<std::byte> device_model;        // QEMU's device state; empty for PVH
  std::vector<std::byte> device_model_store;  // libxl's emulator xenstore data; mostly empty
  std::vector<CardAddress> addresses;         // as far as they are known; to be announced

  // But for the addresses, which are few.
  std::size_t bytes() const {
    return hypervisor.size() + device_model.size() + device_model_store.size();
  }
};

// The guest is no longer there to be protected: it shut down, rebooted, crashed or was
// destroyed. Not a failure of protection.
class Ended : public Error {
 public:
  using Error::Error;
};

// A guest that is being protected, as the primary sees it.
//
// The order of calls is: start_dirty_log; then any number of sample / copy_pages while the
// guest runs; then, for a checkpoint, stop, sample, copy_pages, capture_state, resume.
//
// A page must be cleaned in the dirty log before it is read: a write that races with the copy
// then shows up in the next sample, and the page is sent again. sample() before copy_pages()
// keeps that order; nothing here may reverse it.
//
// Every function may throw Ended, or Error for anything else. After an Error the guest is
// running unless stop() had returned; then resume() is owed.
class Guest {
 public:
  virtual ~Guest() = default;

  // One more than the highest gfn that the guest can have; constant while it is protected.
  // Much larger than the guest's memory (1,044,480 for a 160 MiB PVH guest): no work may be
  // done per gfn except a scan of the bitmap.
  virtual Gfn gfn_count() const = 0;

  // What the backup needs before the first page, once: the libxc stream up to and with
  // STATIC_DATA_END.
  virtual std::vector<std::byte> stream_prologue() = 0;

  virtual void start_dirty_log() = 0;

  // Sets `present` to the gfns that have a page now. The only work that is done per gfn, once,
  // before the first copy.
  virtual void populated(PageBitmap& present) = 0;

  // Turns the log off. Never throws: it is part of giving up.
  virtual void stop_dirty_log() noexcept = 0;

  // Reads and cleans the dirty log: `dirty` is set to the pages written since the last call.
  // While the guest is stopped it also holds the pages that another domain has mapped
  // writable, since such writes are not logged.
  virtual void sample(PageBitmap& dirty) = 0;

  // What cleaning a page in the log costs the guest when it writes that page again, on this host:
  // the exit to the hypervisor, the change of the page table, the way back.
  virtual Duration write_fault() { return std::chrono::microseconds(2); }

  // Reads the log without cleaning it.
  virtual void peek(PageBitmap& dirty) = 0;

  // Copies pages to `out`, kPageBytes each, in the order of `gfns`; present[i] is set to 0 for
  // a gfn without a page (out is then untouched there), else to 1.
  // All three spans are as long as gfns (out: times kPageBytes).
  virtual void copy_pages(std::span<const Gfn> gfns, std::byte* out, std::uint8_t* present) = 0;

  // Pages whose content is not the guest's: those that the restoring side rewrites itself (console
  // and xenstore rings, I/O request pages) and those of the hypervisor's that the guest sees (its
  // grant table, and what Xen calls shared_info); ascending. They are left out when memory is
  // compared.
  virtual std::vector<Gfn> special_pages() = 0;

  // Stops the guest: when it returns no vCPU and no device model touches the guest's memory.
  // On Error the guest runs as before.
  virtual void stop() = 0;

  // Only while stopped.
  virtual State capture_state() = 0;

  // Lets the guest run on as if nothing had happened. Safe to call when it was not stopped.
  virtual void resume() = 0;
};

}  // namespace specrep::guest
