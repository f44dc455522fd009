# A guest that cannot be suspended: a PVH kernel that tells Xen how it wants to be
# interrupted, as one with PV drivers does, so that the toolstack asks it to suspend
# by control/shutdown; and then sleeps for ever and never looks there.
#
# It does not use the instruction hlt: with interrupts off, which they stay, Xen
# takes that for a power-off.

	.set XEN_ELFNOTE_PHYS32_ENTRY, 18
	.set CPUID_XEN_HYPERCALL_PAGE, 0x40000002
	.set HYPERCALL_SCHED_OP, 29
	.set SCHEDOP_BLOCK, 1
	.set HYPERCALL_HVM_OP, 34
	.set HVMOP_SET_PARAM, 0
	.set HVM_PARAM_CALLBACK_IRQ, 0
	.set DOMID_SELF, 0x7ff0
	.set CALLBACK_IS_VECTOR_F3_HIGH, 2 << 24	# bits 56 and up: the kind
	.set CALLBACK_IS_VECTOR_F3_LOW, 0xf3

	.section .note.Xen, "a", @note
	.align 4
	.long 4			# bytes of the name
	.long 4			# bytes of the value
	.long XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.long start

	.text
	.code32
	.globl start
start:
	mov $stack_end, %esp
	mov $CPUID_XEN_HYPERCALL_PAGE, %eax
	cpuid
	mov %ebx, %ecx		# the register that takes the page's address
	mov $hypercall_page, %eax
	xor %edx, %edx
	wrmsr

	mov $HVMOP_SET_PARAM, %ebx
	mov $callback, %ecx
	call hypercall_page + HYPERCALL_HVM_OP * 32
sleep:
	mov $SCHEDOP_BLOCK, %ebx
	xor %ecx, %ecx
	call hypercall_page + HYPERCALL_SCHED_OP * 32
	jmp sleep

	.data
callback:			# struct xen_hvm_param
	.short DOMID_SELF, 0
	.long HVM_PARAM_CALLBACK_IRQ
	.long CALLBACK_IS_VECTOR_F3_LOW, CALLBACK_IS_VECTOR_F3_HIGH

	.bss
	.align 4096
hypercall_page:
	.skip 4096
	.skip 4096
stack_end:
