#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "libspecrep/clock.h"
#include "libspecrep/guest/guest.h"
#include "libspecrep/output/announcement.h"
#include "libspecrep/xen/domain.h"
#include "libspecrep/xen/grant_table.h"
#include "libspecrep/xen/handles.h"
#include "libspecrep/xen/qmp.h"

namespace specrep::xen {

// A real guest, PVH or HVM, through Xen's public libraries.
//
// How it is stopped depends on its kind (wire::GuestKind). With PV drivers the guest is asked
// through xenstore's control/shutdown and suspends itself, as for a live migration, since its
// frontends must be ready to reconnect on another host. Without them it is halted from outside
// and does not notice. A guest with a device model has that stopped and saved, too, by QMP.
//
// The state that is not memory is written here as libxc records (as Xen's own
// xc_domain_save() does for its HVM guests: TSC_INFO, HVM_CONTEXT, HVM_PARAMS) instead of being
// taken from xc_domain_save(), whose other work while the guest is stopped (a second look at
// the dirty log, a walk over all frames) costs 12 to 26 ms a checkpoint in the lab.
class XenGuest final : public guest::Guest {
 public:
  // Xen 4.17's kinds only; throws Error for a guest that cannot be protected.
  explicit XenGuest(const Domain& domain);
  ~XenGuest() override;

  Gfn gfn_count() const override { return gfn_count_; }
  std::vector<std::byte> stream_prologue() override;
  void start_dirty_log() override;
  void stop_dirty_log() noexcept override;
  void populated(PageBitmap& present) override;
  void sample(PageBitmap& dirty) override;
  Duration write_fault() override;
  void peek(PageBitmap& dirty) override;
  void copy_pages(std::span<const Gfn> gfns, std::byte* out, std::uint8_t* present) override;
  std::vector<Gfn> special_pages() override;
  void stop() override;
  guest::State capture_state() override;

  // Learns from now on at which addresses the guest can be reached, for the state that is captured.
  void follow_addresses();

  void resume() override;
  // It runs on another host now, and is not resumed any more, whatever happens.
  void leave_stopped();

 private:
  bool cooperative() const { return domain_.kind != wire::HVM; }
  bool has_device_model() const { return domain_.kind != wire::PVH; }
  std::string name() const;

  void read_dirty_log(unsigned operation, PageBitmap& dirty);
  void mark_canary();
  void suspend_cooperative();
  bool wait_until_suspended(Duration timeout);  // false: not in time
  // Whether it stands still; throws Ended when it is gone or has shut down for another reason.
  bool suspended();
  void stop_device_model();
  void unmap(void* pages, std::size_t count);

  Domain domain_;
  Xenctrl xc_;
  ForeignMemory memory_;
  DeviceModelCalls device_model_calls_;
  Xenstore store_;
  GrantTable grants_;
  Gfn gfn_count_;
  xc_hypercall_buffer_t bitmap_buffer_{};
  std::uint64_t* bitmap_;
  // A page that is marked in the log whenever it was read, and so is found in it the next time,
  // unless somebody else has read the log between: what was dirtied before is unknown here then.
  // Its content is of no use to a copy: the restoring libxc clears it.
  Gfn canary_ = 0;
  // That Xen lets the guest have: when its copy was begun, and when it was last looked at.
  const std::uint64_t memory_kib_max_;
  std::uint64_t memory_kib_max_now_ = 0;
  bool stopped_ = false;
  // What was mapped while the guest stood still, to be unmapped when it runs again: unmapping
  // takes nearly as long as mapping.
  struct Mapped {
    void* pages;
    std::size_t count;
  };
  std::vector<Mapped> mapped_;
  bool device_model_stopped_ = false;
  std::optional<Qmp> qmp_;  // only from before the stop until after the resume
  std::string device_model_file_;
  std::optional<output::AddressWatch> addresses_;
};

}  // namespace specrep::xen
