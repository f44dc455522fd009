#include "libspecrep/xen/xen_guest.h"

#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "libspecrep/xen/network.h"
#include "libspecrep/xen/page_types.h"
#include "libspecrep/xen/stream_records.h"
#include "libspecrep/xen/suspend_request.h"

extern "C" {
#include <xen/hvm/params.h>
#include <xen/sched.h>
#include <xenguest.h>
}

namespace specrep::xen {

using namespace std::chrono_literals;

namespace {

// How often a guest that was asked to suspend is looked at. A look is one hypercall; xenstored's
// @releaseDomain watch would cost two context switches and a scan of all domains instead.
constexpr Duration kSuspendPoll = 500us;
// A guest that does not take the request within this time is given up, and the request with it.
constexpr Duration kSuspendAckTimeout = 10s;
// One that took it may still wait for its own tasks to freeze (Linux gives them 20 s).
constexpr Duration kSuspendTimeout = 30s;
// Pages mapped at a time when they are copied.
constexpr std::size_t kMapBatch = 1024;
// Batches that stay mapped until the guest runs again; --verify maps all of its memory.
constexpr std::size_t kMappedWhileStoppedMax = 64;
constexpr const char* kRunDirectory = "/run/specrep";

const char* shutdown_reason(unsigned reason) {
  switch (reason) {
    case SHUTDOWN_poweroff:
      return "has shut down";
    case SHUTDOWN_reboot:
      return "is rebooting";
    case SHUTDOWN_suspend:
      return "is suspended";
    case SHUTDOWN_crash:
      return "has crashed";
    case SHUTDOWN_watchdog:
      return "was stopped by its watchdog";
    default:
      return "has shut down for an unknown reason";
  }
}

// If the guest is gone or shut down that is the reason for whatever failed, else `what` is.
[[noreturn]] void fail(const Xenctrl& xc, const Domain& domain, const std::string& what) {
  const RunState state = run_state(xc, domain.domid);
  if (!state.exists) throw guest::Ended("guest " + domain.name + " no longer exists");
  if (state.shut_down && state.shutdown_reason != SHUTDOWN_suspend)
    throw guest::Ended("guest " + domain.name + " " + shutdown_reason(state.shutdown_reason));
  throw Error(what);
}

Gfn count_gfns(const Xenctrl& xc, const Domain& domain) {
  xen_pfn_t count = 0;
  if (xc_domain_nr_gpfns(xc.get(), domain.domid, &count) < 0)
    fail(xc, domain, errno_text("cannot ask for the frames of guest " + domain.name));
  return count;
}

Gfn xenstore_page(const Xenctrl& xc, const Domain& domain) {
  std::uint64_t gfn = 0;
  if (xc_hvm_param_get(xc.get(), domain.domid, HVM_PARAM_STORE_PFN, &gfn) || gfn == 0)
    fail(xc, domain, errno_text("cannot ask for the xenstore page of guest " + domain.name));
  return gfn;
}

int bitmap_pages(Gfn gfn_count) {
  const std::size_t bytes = (gfn_count + 63) / 64 * 8;
  return static_cast<int>((bytes + kPageBytes - 1) / kPageBytes);
}

// The parameters that make an HVM or PVH guest's platform, as libxc-migration-stream.pandoc
// asks for in HVM_PARAMS.
constexpr std::uint32_t kSavedParams[] = {
    HVM_PARAM_STORE_PFN,
    HVM_PARAM_IOREQ_PFN,
    HVM_PARAM_BUFIOREQ_PFN,
    HVM_PARAM_PAGING_RING_PFN,
    HVM_PARAM_MONITOR_RING_PFN,
    HVM_PARAM_SHARING_RING_PFN,
    HVM_PARAM_VM86_TSS_SIZED,
    HVM_PARAM_CONSOLE_PFN,
    HVM_PARAM_ACPI_IOPORTS_LOCATION,
    HVM_PARAM_VIRIDIAN,
    HVM_PARAM_IDENT_PT,
    HVM_PARAM_VM_GENERATION_ID_ADDR,
    HVM_PARAM_IOREQ_SERVER_PFN,
    HVM_PARAM_NR_IOREQ_SERVER_PAGES,
    HVM_PARAM_X87_FIP_WIDTH,
    HVM_PARAM_MCA_CAP,
};

// Those that name pages which the restoring libxc clears.
constexpr std::uint32_t kClearedPageParams[] = {HVM_PARAM_STORE_PFN, HVM_PARAM_CONSOLE_PFN,
                                                HVM_PARAM_IOREQ_PFN, HVM_PARAM_BUFIOREQ_PFN};

}  // namespace

XenGuest::XenGuest(const Domain& domain)
    : domain_(domain),
      grants_(xc_, memory_, domain.domid),
      gfn_count_(count_gfns(xc_, domain)),
      bitmap_(nullptr),
      memory_kib_max_(run_state(xc_, domain.domid).memory_kib_max) {
  if (domain_.kind == wire::GUEST_KIND_UNSPECIFIED)
    throw Error(name() + " is neither a PVH nor an HVM guest",
                "PV guests cannot be protected: Debian's Xen has no log-dirty mode for them");
  canary_ = xenstore_page(xc_, domain_);
  mkdir(kRunDirectory, 0700);
  device_model_file_ =
      std::string(kRunDirectory) + "/device-model-" + std::to_string(domain_.domid);
  bitmap_ = static_cast<std::uint64_t*>(
      xc__hypercall_buffer_alloc_pages(xc_.get(), &bitmap_buffer_, bitmap_pages(gfn_count_)));
  if (!bitmap_) throw Error(errno_text("cannot allocate the dirty bitmap of " + name()));
}

XenGuest::~XenGuest() {
  try {
    resume();
  } catch (const Error& error) {
    spdlog::error(error.what());
  }
  xc__hypercall_buffer_free_pages(xc_.get(), &bitmap_buffer_, bitmap_pages(gfn_count_));
  unlink(device_model_file_.c_str());
}

std::string XenGuest::name() const { return "guest " + domain_.name; }

std::vector<std::byte> XenGuest::stream_prologue() {
  const int version = xc_version(xc_.get(), XENVER_version, nullptr);
  std::uint32_t leaf_count = 0, msr_count = 0;
  if (version < 0 || xc_cpu_policy_get_size(xc_.get(), &leaf_count, &msr_count))
    fail(xc_, domain_, errno_text("cannot ask for the size of the CPU policy of " + name()));
  std::vector<xen_cpuid_leaf_t> leaves(leaf_count);
  std::vector<xen_msr_entry_t> msrs(msr_count);
  const std::unique_ptr<xc_cpu_policy_t, decltype(&xc_cpu_policy_destroy)> policy(
      xc_cpu_policy_init(), xc_cpu_policy_destroy);
  if (!policy || xc_cpu_policy_get_domain(xc_.get(), domain_.domid, policy.get()) ||
      xc_cpu_policy_serialise(xc_.get(), policy.get(), leaves.data(), &leaf_count, msrs.data(),
                              &msr_count))
    fail(xc_, domain_, errno_text("cannot read the CPU policy of " + name()));

  stream::Bytes out;
  stream::append_libxc_headers(out, static_cast<std::uint32_t>(version) >> 16,
                               static_cast<std::uint32_t>(version) & 0xffff);
  if (leaf_count > 0)
    stream::append_record(out, stream::Libxc::kX86CpuidPolicy,
                          std::as_bytes(std::span(leaves).first(leaf_count)));
  if (msr_count > 0)
    stream::append_record(out, stream::Libxc::kX86MsrPolicy,
                          std::as_bytes(std::span(msrs).first(msr_count)));
  stream::append_record(out, stream::Libxc::kStaticDataEnd);
  return out;
}

void XenGuest::start_dirty_log() {
  const auto enable = [&] {
    return xc_shadow_control(xc_.get(), domain_.domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY,
                             nullptr, 0);
  };
  // The log may be on already, for the device model's video memory or from a process that died:
  // Xen then refuses, and it has to go off once.
  if (enable() < 0) {
    xc_shadow_control(xc_.get(), domain_.domid, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0);
    if (enable() < 0) fail(xc_, domain_, errno_text("cannot turn on log-dirty mode for " + name()));
  }
  mark_canary();
  if (has_device_model())
    Qmp(domain_.domid).execute("xen-set-global-dirty-log", {{"enable", true}});
}

void XenGuest::stop_dirty_log() noexcept {
  try {
    if (run_state(xc_, domain_.domid).exists && has_device_model()) {
      Qmp qmp(domain_.domid);
      drop_dirty_log(qmp);
    }
  } catch (const std::exception& error) {
    spdlog::error(error.what());
  }
  xc_shadow_control(xc_.get(), domain_.domid, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0);
}

void XenGuest::populated(PageBitmap& present) {
  try {
    find_populated(domain_.domid, present);
  } catch (const Error& error) {
    fail(xc_, domain_, error.what());
  }
}

void XenGuest::read_dirty_log(unsigned operation, PageBitmap& dirty) {
  xc_shadow_op_stats_t stats{};
  const auto got = xc_logdirty_control(xc_.get(), domain_.domid, operation, &bitmap_buffer_,
                                       gfn_count_, 0, &stats);
  if (got != static_cast<long long>(gfn_count_))
    fail(xc_, domain_, errno_text("cannot read the dirty log of " + name()));
  std::memcpy(dirty.words().data(), bitmap_, dirty.words().size_bytes());
}

void XenGuest::mark_canary() {
  if (xendevicemodel_modified_memory(device_model_calls_.get(), static_cast<domid_t>(domain_.domid),
                                     canary_, 1))
    fail(xc_, domain_, errno_text("cannot mark a page of " + name() + " as dirty"));
}

void XenGuest::sample(PageBitmap& dirty) {
  read_dirty_log(XEN_DOMCTL_SHADOW_OP_CLEAN, dirty);
  if (!dirty.test(canary_))
    throw Error("another tool has read the dirty log of " + name() +
                    ": its copy would lack what was written before",
                "is it being migrated? Protect it again after that");
  dirty.reset(canary_);
  mark_canary();
  if (stopped_) grants_.add_mapped_writable(dirty);
}

// It cannot be timed from here, but it goes with how fast this host enters Xen, does some work
// there and comes back. In the lab a fault takes 0.63 to 0.87 of what the call below takes, 7.2
// to 10.0 of 11.5 us (tests/xenlab/probe/fault-cost.cc, doc/results.md).
Duration XenGuest::write_fault() {
  constexpr int kRounds = 5, kCalls = 20;
  constexpr double kFaultOfCall = 0.75;
  const SteadyClock clock;
  Duration quickest = Duration::max();  // others ran meanwhile in the slower ones
  for (int round = 0; round < kRounds; ++round) {
    const TimePoint before = clock.now();
    for (int call = 0; call < kCalls; ++call) {
      xc_domaininfo_t info;
      xc_domain_getinfolist(xc_.get(), domain_.domid, 1, &info);
    }
    quickest = std::min<Duration>(quickest, (clock.now() - before) / kCalls);
  }
  return std::chrono::duration_cast<Duration>(quickest * kFaultOfCall);
}

void XenGuest::peek(PageBitmap& dirty) { read_dirty_log(XEN_DOMCTL_SHADOW_OP_PEEK, dirty); }

void XenGuest::copy_pages(std::span<const Gfn> gfns, std::byte* out, std::uint8_t* present) {
  static_assert(sizeof(Gfn) == sizeof(xen_pfn_t));
  int errors[kMapBatch];
  for (std::size_t first = 0; first < gfns.size(); first += kMapBatch) {
    const std::size_t count = std::min(kMapBatch, gfns.size() - first);
    const auto* pfns = reinterpret_cast<const xen_pfn_t*>(gfns.data() + first);
    void* mapped =
        xenforeignmemory_map(memory_.get(), domain_.domid, PROT_READ, count, pfns, errors);
    if (!mapped) fail(xc_, domain_, errno_text("cannot map memory of " + name()));
    for (std::size_t i = 0; i < count; ++i) {
      present[first + i] = errors[i] == 0;
      if (errors[i] == 0)
        std::memcpy(out + (first + i) * kPageBytes,
                    static_cast<const std::byte*>(mapped) + i * kPageBytes, kPageBytes);
    }
    unmap(mapped, count);
  }
}

void XenGuest::unmap(void* pages, std::size_t count) {
  if (stopped_ && mapped_.size() < kMappedWhileStoppedMax)
    mapped_.push_back({pages, count});
  else
    xenforeignmemory_unmap(memory_.get(), pages, count);
}

std::vector<Gfn> XenGuest::special_pages() {
  std::vector<Gfn> pages;
  for (const auto param : kClearedPageParams) {
    std::uint64_t gfn = 0;
    if (!xc_hvm_param_get(xc_.get(), domain_.domid, param, &gfn) && gfn && gfn < gfn_count_)
      pages.push_back(gfn);
  }
  // A frame that the guest has not asked to see has no gfn.
  for (const Gfn gfn : grants_.frames()) {
    if (gfn < gfn_count_) pages.push_back(gfn);
  }
  xc_domaininfo_t info;
  if (xc_domain_getinfolist(xc_.get(), domain_.domid, 1, &info) == 1 &&
      info.domain == domain_.domid && info.shared_info_frame < gfn_count_)
    pages.push_back(info.shared_info_frame);
  std::sort(pages.begin(), pages.end());
  return pages;
}

bool XenGuest::suspended() {
  const RunState state = run_state(xc_, domain_.domid);
  if (!state.exists) throw guest::Ended(name() + " no longer exists");
  memory_kib_max_now_ = state.memory_kib_max;
  if (!state.shut_down) return false;
  if (state.shutdown_reason != SHUTDOWN_suspend)
    throw guest::Ended(name() + " " + shutdown_reason(state.shutdown_reason));
  return true;
}

bool XenGuest::wait_until_suspended(Duration timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!suspended()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(kSuspendPoll);
  }
  return true;
}

void XenGuest::suspend_cooperative() {
  const char* advice =
      "the guest needs Xen's PV drivers and must answer `suspend` in control/shutdown";
  const auto deadline = std::chrono::steady_clock::now() + kSuspendAckTimeout;
  // While the guest has not taken another request, most likely to shut down, that goes first.
  while (!request_suspend(store_, domain_.domid)) {
    if (suspended() || std::chrono::steady_clock::now() > deadline)
      throw Error(name() + " does not take the request that waits in control/shutdown", advice);
    std::this_thread::sleep_for(kSuspendPoll);
  }
  if (wait_until_suspended(kSuspendAckTimeout)) return;
  const bool paused = run_state(xc_, domain_.domid).paused;
  if (cancel_suspend_request(store_, domain_.domid)) {
    if (paused)
      throw Error(name() + " is paused by another tool, and cannot be suspended",
                  "`xl unpause " + domain_.name + "` lets it go on; protect it again then");
    throw Error(name() + " did not answer the request to suspend within 10 s", advice);
  }
  // One that took it and was paused then suspends itself when it is let go: somebody has to be
  // there.
  while (!wait_until_suspended(kSuspendTimeout))
    if (!run_state(xc_, domain_.domid).paused)
      throw Error(name() + " took the request to suspend but did not within 40 s", advice);
}

void XenGuest::stop_device_model() {
  qmp_->execute("stop");
  device_model_stopped_ = true;
}

void XenGuest::stop() {
  if (suspended())
    throw Error(name() + " is suspended by somebody else",
                "another migration, save or protection is at work on it");
  // Connected while the guest runs, since the handshake takes as long as a whole suspend.
  if (has_device_model()) qmp_.emplace(domain_.domid);
  if (cooperative()) {
    suspend_cooperative();
  } else if (xc_domain_shutdown(xc_.get(), static_cast<int>(domain_.domid), SHUTDOWN_suspend)) {
    fail(xc_, domain_, errno_text("cannot halt " + name()));
  } else if (!wait_until_suspended(kSuspendAckTimeout)) {
    throw Error(name() + " was halted but its vCPUs did not stop within 10 s");
  }
  stopped_ = true;
  if (!has_device_model()) return;
  try {
    stop_device_model();
  } catch (...) {
    resume();
    throw;
  }
}

void XenGuest::follow_addresses() {
  addresses_.emplace(network_interfaces(domain_.domid), card_addresses(domain_.domid));
}

guest::State XenGuest::capture_state() {
  // What is added then may be behind the end of the dirty log, which would not be noticed; and the
  // copy has no room for it.
  if (memory_kib_max_now_ > memory_kib_max_)
    throw Error("the memory of " + name() + " was raised while it was protected",
                "protect it again: its copy has as much memory as the guest when that begins");
  guest::State state;
  if (addresses_) state.addresses = addresses_->addresses();

  struct {
    std::uint32_t mode = 0;
    std::uint32_t khz = 0;
    std::uint64_t nsec = 0;
    std::uint32_t incarnation = 0;
    std::uint32_t reserved = 0;
  } tsc;
  if (xc_domain_get_tsc_info(xc_.get(), domain_.domid, &tsc.mode, &tsc.nsec, &tsc.khz,
                             &tsc.incarnation))
    fail(xc_, domain_, errno_text("cannot read the TSC mode of " + name()));
  stream::append_record(state.hypervisor, stream::Libxc::kX86TscInfo, stream::as_bytes(tsc));

  const int size = xc_domain_hvm_getcontext(xc_.get(), domain_.domid, nullptr, 0);
  std::vector<std::uint8_t> context(size > 0 ? static_cast<std::size_t>(size) : 0);
  const int got = size > 0 ? xc_domain_hvm_getcontext(xc_.get(), domain_.domid, context.data(),
                                                      static_cast<std::uint32_t>(size))
                           : -1;
  if (got < 0) fail(xc_, domain_, errno_text("cannot read the HVM context of " + name()));
  stream::append_record(state.hypervisor, stream::Libxc::kHvmContext,
                        std::as_bytes(std::span(context).first(static_cast<std::size_t>(got))));

  stream::Bytes params;
  std::uint32_t count = 0;
  for (const auto index : kSavedParams) {
    std::uint64_t value = 0;
    if (xc_hvm_param_get(xc_.get(), domain_.domid, index, &value))
      fail(xc_, domain_, errno_text("cannot read HVM parameters of " + name()));
    if (value == 0) continue;
    stream::append(params, std::uint64_t{index});
    stream::append(params, value);
    ++count;
  }
  stream::Bytes body;
  stream::append(body, count);
  stream::append(body, std::uint32_t{0});
  body.insert(body.end(), params.begin(), params.end());
  stream::append_record(state.hypervisor, stream::Libxc::kHvmParams, body);

  if (!has_device_model()) return state;

  // "live": QEMU keeps the locks on its disk images, since it will go on with them.
  qmp_->execute("xen-save-devices-state", {{"filename", device_model_file_}, {"live", true}});
  std::ifstream file(device_model_file_, std::ios::binary);
  const std::string saved((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (saved.empty()) throw Error("the device model of " + name() + " saved nothing");
  const auto bytes = std::as_bytes(std::span(saved));
  state.device_model.assign(bytes.begin(), bytes.end());

  // libxl's EMULATOR_XENSTORE_DATA: QEMU's memory slots, as key and value strings, each with
  // its terminating zero. Newer QEMUs keep none there.
  const std::string root = "/local/domain/0/device-model/" + std::to_string(domain_.domid) + "/";
  for (const auto& entry : store_.directory(root + "physmap")) {
    for (const char* leaf : {"start_addr", "size", "name"}) {
      const std::string key = "physmap/" + entry + "/" + leaf;
      const auto value = store_.read(root + key);
      if (!value) continue;
      for (const std::string& text : {key, *value}) {
        const auto with_zero = std::as_bytes(std::span(text.c_str(), text.size() + 1));
        state.device_model_store.insert(state.device_model_store.end(), with_zero.begin(),
                                        with_zero.end());
      }
    }
  }
  return state;
}

void XenGuest::resume() {
  if (!stopped_) {
    qmp_.reset();
    return;
  }
  if (device_model_stopped_) {
    qmp_->execute("cont");
    device_model_stopped_ = false;
  }
  qmp_.reset();
  if (xc_domain_resume(xc_.get(), domain_.domid, 1))
    fail(xc_, domain_, errno_text("cannot resume " + name()));
  stopped_ = false;
  // xenstored took note of the shutdown; without this it would not report the next one.
  xs_resume_domain(store_.get(), domain_.domid);
  for (const Mapped& mapped : std::exchange(mapped_, {})) unmap(mapped.pages, mapped.count);
  if (addresses_) addresses_->look();
}

void XenGuest::leave_stopped() {
  stopped_ = false;
  qmp_.reset();
  for (const Mapped& mapped : std::exchange(mapped_, {})) unmap(mapped.pages, mapped.count);
}

}  // namespace specrep::xen
