// Which of a guest's pages change without a mark in Xen's dirty log, and whether its grant table
// tells which those are.
//   grant-writes DOMID ROUNDS RUN_MS
// In each round all pages are hashed while the guest is paused, before and after it has run for
// RUN_MS. Prints a JSON object a round: pages in the log, pages that changed, those that changed and
// are not in the log ("behind"), how many of these are mapped writable by another domain
// (GTF_writing, what libspecrep/xen/grant_table.h adds to the log), and the numbers of the others. The
// pages by which the guest sees its grant table, which Xen writes, are left out.

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

extern "C" {
#include <xenctrl.h>
#include <xenforeignmemory.h>

#include <xen/grant_table.h>
#include <xen/memory.h>
}

namespace {

constexpr std::size_t kPageBytes = 4096, kBatch = 1024;
// What the backends had taken from their rings before the guest was paused is done then.
constexpr long kDrainNs = 500'000'000;

xc_interface* xc;
xenforeignmemory_handle* memory;
std::uint32_t domid;
std::uint64_t frames;
xc_hypercall_buffer_t buffer{};
std::uint64_t* bitmap;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

void sleep_ns(long ns) {
  const timespec time{ns / 1'000'000'000, ns % 1'000'000'000};
  nanosleep(&time, nullptr);
}

void pause() {
  if (xc_domain_pause(xc, domid)) fail("pause");
  sleep_ns(kDrainNs);
}

void unpause() {
  if (xc_domain_unpause(xc, domid)) fail("unpause");
}

void read_log(unsigned operation) {
  if (xc_logdirty_control(xc, domid, operation, &buffer, frames, 0, nullptr) < 0) fail("dirty log");
}

// 0 for a page that is not there.
std::vector<std::uint64_t> hashes() {
  std::vector<std::uint64_t> all(frames, 0);
  xen_pfn_t gfns[kBatch];
  int errors[kBatch];
  for (std::uint64_t first = 0; first < frames; first += kBatch) {
    const std::size_t count = std::min<std::uint64_t>(kBatch, frames - first);
    for (std::size_t i = 0; i < count; ++i) gfns[i] = first + i;
    void* pages = xenforeignmemory_map(memory, domid, PROT_READ, count, gfns, errors);
    if (!pages) continue;
    for (std::size_t i = 0; i < count; ++i) {
      if (errors[i]) continue;
      const auto* words = reinterpret_cast<const std::uint64_t*>(static_cast<const char*>(pages) + i * kPageBytes);
      std::uint64_t hash = 1;
      for (std::size_t w = 0; w < kPageBytes / 8; ++w) hash = (hash ^ words[w]) * 0x9e3779b97f4a7c15 + (hash >> 29);
      all[first + i] = hash | 1;
    }
    xenforeignmemory_unmap(memory, pages, count);
  }
  return all;
}

unsigned table_frames() {
  gnttab_query_size query{};
  query.dom = static_cast<domid_t>(domid);
  if (xc_gnttab_query_size(xc, &query) || query.status != GNTST_okay) fail("grant table's size");
  return query.nr_frames;
}

std::vector<bool> mapped_writable() {
  std::vector<bool> mapped(frames, false);
  const unsigned count = table_frames();
  void* table = nullptr;
  auto* resource = xenforeignmemory_map_resource(memory, static_cast<domid_t>(domid), XENMEM_resource_grant_table,
                                                 XENMEM_resource_grant_table_id_shared, 0, count, &table,
                                                 PROT_READ, 0);
  if (!resource) fail("grant table");
  const auto* entries = static_cast<const volatile grant_entry_v1_t*>(table);
  for (std::size_t i = 0; i < count * (kPageBytes / sizeof(grant_entry_v1_t)); ++i)
    if ((entries[i].flags & GTF_writing) && entries[i].frame < frames) mapped[entries[i].frame] = true;
  xenforeignmemory_unmap_resource(memory, resource);
  return mapped;
}

// Where the guest sees its grant table.
std::vector<std::uint64_t> table_gfns() {
  const unsigned count = table_frames();
  xc_hypercall_buffer_t list_buffer{};
  auto* list = static_cast<xen_pfn_t*>(xc__hypercall_buffer_alloc(xc, &list_buffer, count * sizeof(xen_pfn_t)));
  gnttab_setup_table setup{};
  setup.dom = static_cast<domid_t>(domid);
  setup.nr_frames = count;
  set_xen_guest_handle_raw(setup.frame_list, list);
  if (!list || xc_gnttab_op(xc, GNTTABOP_setup_table, &setup, sizeof setup, 1) || setup.status != GNTST_okay)
    fail("grant table's place");
  std::vector<std::uint64_t> gfns(list, list + count);
  xc__hypercall_buffer_free(xc, &list_buffer);
  return gfns;
}

void round(unsigned run_ms) {
  pause();
  read_log(XEN_DOMCTL_SHADOW_OP_CLEAN);
  const auto before = hashes();
  unpause();
  sleep_ns(static_cast<long>(run_ms) * 1'000'000);
  pause();
  const auto mapped = mapped_writable();
  auto after = hashes();
  // Only now: what arrives for the paused guest is still copied into the pages that wait for it.
  read_log(XEN_DOMCTL_SHADOW_OP_PEEK);
  unpause();
  for (const std::uint64_t gfn : table_gfns())
    if (gfn < frames) after[gfn] = before[gfn];
  unsigned long long logged = 0, changed = 0, behind = 0, known = 0, granted = 0;
  std::vector<unsigned long long> unknown;
  for (std::uint64_t gfn = 0; gfn < frames; ++gfn) {
    const bool marked = bitmap[gfn / 64] >> (gfn % 64) & 1;
    logged += marked;
    granted += mapped[gfn];
    if (before[gfn] == after[gfn]) continue;
    ++changed;
    if (marked) continue;
    ++behind;
    known += mapped[gfn];
    if (!mapped[gfn]) unknown.push_back(gfn);
  }
  std::printf("{\"logged\": %llu, \"changed\": %llu, \"mapped_writable\": %llu, \"behind\": %llu, \"behind_mapped\": %llu, "
              "\"behind_others\": [", logged, changed, granted, behind, known);
  for (std::size_t i = 0; i < unknown.size(); ++i) std::printf("%s%llu", i ? ", " : "", unknown[i]);
  std::printf("]}\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: grant-writes DOMID ROUNDS RUN_MS\n");
    return 2;
  }
  xc = xc_interface_open(nullptr, nullptr, 0);
  memory = xenforeignmemory_open(nullptr, 0);
  if (!xc || !memory) fail("Xen");
  domid = static_cast<std::uint32_t>(std::atoi(argv[1]));
  xen_pfn_t last;
  if (xc_domain_maximum_gpfn(xc, domid, &last)) fail("frames");
  frames = last + 1;
  bitmap = static_cast<std::uint64_t*>(xc__hypercall_buffer_alloc_pages(
      xc, &buffer, static_cast<int>(((frames + 63) / 64 * 8 + kPageBytes - 1) / kPageBytes)));
  if (!bitmap || xc_shadow_control(xc, domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, nullptr, 0) < 0) fail("log-dirty mode");
  for (int i = std::atoi(argv[2]); i > 0; --i) round(static_cast<unsigned>(std::atoi(argv[3])));
  xc_shadow_control(xc, domid, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0);
}
