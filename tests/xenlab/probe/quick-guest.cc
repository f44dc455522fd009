// A guest whose epochs cost least: a PVH kernel that writes to a few of its pages, waits for
// control/shutdown to ask it to suspend, and does so at once. Linux first freezes its tasks and its
// devices, which takes an emulated host most of the time of an epoch. It runs with interrupts off
// and without paging: a guest frame is where its number says.

// Xen's headers describe its oldest interface unless told.
#define __XEN_INTERFACE_VERSION__ 0x00040e00
#include <stdint.h>

// They are C.
extern "C" {
#include <xen/event_channel.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/io/xs_wire.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/xen.h>
}

asm(R"(
	.pushsection .note.Xen, "a", @note
	.align 4
	.long 4, 4, 18		# bytes of name and value, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.long start
	.popsection

	.text
	.globl start
start:
	mov $stack_end, %esp
	mov $0x40000002, %eax	# Xen's CPUID leaf that names the register
	cpuid
	mov %ebx, %ecx		# which takes the address of the hypercall page
	mov $hypercall_page, %eax
	xor %edx, %edx
	wrmsr
	call run

	.pushsection .bss
	.align 4096
	.globl hypercall_page
hypercall_page:
	.skip 4096
	.skip 4096
stack_end:
	.popsection
)");

extern "C" char hypercall_page[];

namespace {

constexpr uint64_t kCallbackIsVectorF3 = uint64_t{2} << 56 | 0xf3;
constexpr uint32_t kPageBytes = 4096;
// Pages of which one after the other is written, a few in each epoch.
constexpr uint32_t kPages = 256, kWrittenPerEpoch = 8;
constexpr char kNode[] = "control/shutdown";

alignas(kPageBytes) char pages[kPages][kPageBytes];
alignas(kPageBytes) char shared_page[kPageBytes];

long hypercall(unsigned number, unsigned long first, void* second) {
  long result = 0;
  asm volatile("call *%[entry]"
               : "=a"(result), "+b"(first), "+c"(second)
               : [entry] "r"(hypercall_page + number * 32)
               : "memory");
  return result;
}

uint64_t hvm_param(unsigned index) {
  xen_hvm_param param{DOMID_SELF, 0, index, 0};
  hypercall(__HYPERVISOR_hvm_op, HVMOP_get_param, &param);
  return param.value;
}

class Xenstore {
 public:
  void connect() {
    ring_ = reinterpret_cast<volatile xenstore_domain_interface*>(
        static_cast<uintptr_t>(hvm_param(HVM_PARAM_STORE_PFN)) * kPageBytes);
    port_ = static_cast<evtchn_port_t>(hvm_param(HVM_PARAM_STORE_EVTCHN));
  }

  void watch() {
    static constexpr char request[] = "control/shutdown\0token";
    request_and_reply(XS_WATCH, request, sizeof request);
  }

  // Whether the guest is asked to suspend; the request is taken back then.
  bool take_request() {
    request_and_reply(XS_READ, kNode, sizeof kNode);
    if (reply_bytes_ == 0 || reply_[0] != 's') return false;
    request_and_reply(XS_WRITE, kNode, sizeof kNode);
    return true;
  }

  // Until something has come: the watch's event, which is dropped.
  void wait_for_event() {
    while (ring_->rsp_prod == ring_->rsp_cons) wait();
    receive();
  }

 private:
  void wait() {
    auto* shared = reinterpret_cast<volatile shared_info*>(shared_page);
    evtchn_port_t port = port_;
    sched_poll poll{};
    poll.ports.p = &port;
    poll.nr_ports = 1;
    hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, &poll);
    asm volatile("lock andl %1, %0"
                 : "+m"(shared->evtchn_pending[port_ / 32])
                 : "r"(~(1ul << port_ % 32))
                 : "memory");
  }

  void notify() {
    evtchn_send send{port_};
    hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &send);
  }

  void send(const void* bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      ring_->req[MASK_XENSTORE_IDX(ring_->req_prod)] = static_cast<const char*>(bytes)[i];
      ring_->req_prod = ring_->req_prod + 1;
    }
  }

  char receive_byte() {
    while (ring_->rsp_prod == ring_->rsp_cons) wait();
    const char byte = ring_->rsp[MASK_XENSTORE_IDX(ring_->rsp_cons)];
    ring_->rsp_cons = ring_->rsp_cons + 1;
    return byte;
  }

  // One message; of its payload no more is kept than there is room for.
  uint32_t receive() {
    xsd_sockmsg header;
    for (uint32_t i = 0; i < sizeof header; ++i)
      reinterpret_cast<char*>(&header)[i] = receive_byte();
    for (uint32_t i = 0; i < header.len; ++i) {
      const char byte = receive_byte();
      if (i < sizeof reply_) reply_[i] = byte;
    }
    reply_bytes_ = header.len;
    return header.type;
  }

  void request_and_reply(uint32_t type, const char* payload, uint32_t bytes) {
    const xsd_sockmsg header{type, 0, 0, bytes};
    send(&header, sizeof header);
    send(payload, bytes);
    notify();
    while (receive() == XS_WATCH_EVENT) {
    }
  }

  volatile xenstore_domain_interface* ring_ = nullptr;
  evtchn_port_t port_ = 0;
  char reply_[64];
  uint32_t reply_bytes_ = 0;
};

// Writes numbers into the next pages.
void write_pages() {
  static uint32_t next, number;
  for (uint32_t i = 0; i < kWrittenPerEpoch; ++i) {
    auto* words = reinterpret_cast<volatile uint32_t*>(pages[next++ % kPages]);
    for (uint32_t word = 0; word < kPageBytes / sizeof *words; word += 64) words[word] = ++number;
  }
}

}  // namespace

extern "C" [[noreturn]] void run() {
  // Without this the toolstack takes it for a guest that cannot be asked.
  xen_hvm_param callback{DOMID_SELF, 0, HVM_PARAM_CALLBACK_IRQ, kCallbackIsVectorF3};
  hypercall(__HYPERVISOR_hvm_op, HVMOP_set_param, &callback);
  Xenstore store;
  for (;;) {
    // Anew where the guest has been restored: what was the old host's is gone.
    xen_add_to_physmap shared{DOMID_SELF, 0, XENMAPSPACE_shared_info, 0,
                              reinterpret_cast<uintptr_t>(shared_page) / kPageBytes};
    hypercall(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &shared);
    store.connect();
    store.watch();
    for (bool restored = false; !restored;) {
      store.wait_for_event();
      while (store.take_request()) {
        write_pages();
        sched_shutdown suspend{SHUTDOWN_suspend};
        restored = hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, &suspend) == 0;
        write_pages();
      }
    }
  }
}
