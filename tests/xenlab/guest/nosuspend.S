# A guest that cannot be suspended: a PVH kernel that sleeps for ever with
# interrupts off, so it never sees what the toolstack writes to control/shutdown.

	.set XEN_ELFNOTE_PHYS32_ENTRY, 18

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
	cli
sleep:
	hlt
	jmp sleep
