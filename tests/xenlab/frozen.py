"""A frozen lab: both hosts as they were at one moment, which may take minutes to reach, for any number of labs that go
on from there. In the folder with its memory is then a snapshot of each host (machine.py)."""

import pathlib
import random
import re
import time

from common import LabError
from machine import GUEST_DISKS, Monitor

STOP_TIMEOUT_S = 60
STOP_RETRY_MAX_S = 0.005

# What Xen keeps of the addresses for itself (xen/arch/x86/include/asm/config.h).
XEN_START, XEN_END = 0xffff800000000000, 0xffff880000000000


def snapshot(memory, host):
    return pathlib.Path(memory) / f"host{host}"


def make_ram_file(memory, host):
    """Where a host that will be frozen has to keep its memory."""
    snapshot(memory, host).mkdir(parents=True)
    return snapshot(memory, host) / "ram"


def disks(memory, host):
    """What the host's /dev/vdb and /dev/vdc held."""
    files = [snapshot(memory, host) / name for name in GUEST_DISKS]
    return [file for file in files if file.exists()]


def stop(machine):
    """Stops a host's time and processor at a moment from which a snapshot can go on.

    QEMU saves a processor that is inside a nested guest, but refuses to load it. states.py pauses a guest before that;
    one that is protected must run on.
    """
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    with Monitor(machine.folder / "qmp") as monitor:
        monitor.command("stop")
        while not _is_outside_guests(monitor):
            if time.monotonic() > deadline_s:
                raise LabError(f"host {machine.number} does not leave its guest for {STOP_TIMEOUT_S} s")
            monitor.command("cont")
            time.sleep(random.uniform(0, STOP_RETRY_MAX_S))
            monitor.command("stop")


def _is_outside_guests(monitor):
    """Whether the processor is in Xen or in dom0, whose interrupts go to Xen, and not in a guest with its own table."""
    registers = monitor.command("human-monitor-command", **{"command-line": "info registers"})
    table = int(re.search(r"^IDT= *([0-9a-f]+)", registers, re.MULTILINE)[1], 16)
    return XEN_START <= table < XEN_END
