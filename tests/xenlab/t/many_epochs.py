"""Thousands of epochs leave memory and descriptors of the processes, and dom0's memory, as they were."""

import os
import time

import probes
from network import HOSTS
from protection import protected_under_load

GUEST = ("pvh", "hvm")
ON_REQUEST = True

# In 24 hours, epochs of 200 ms are 432,000; here, at two to four a second, they take 30 to 60 hours. What each of them
# left behind would be seen in some thousands, since it is known to the byte.
EPOCHS = int(os.environ.get("SPECREP_EPOCHS", "3000"))
# The cache of what was sent before is full within the first epochs, and so does not grow any more.
OPTIONS = "-i 20 --timeout 15000 --delta-cache 1"
# What is not there at once, such as caches and histories, is there by then.
BEGIN = 1 / 10
LOOKS = 10
DIRTY_PAGES_PER_S = 50
EPOCHS_PER_S_MIN = 2

PROCESSES = {1: ("xl-specrep", "specrep-primary"), 2: ("xl-specrep", "specrep-backup", "libxl-save-help")}
# Within an epoch, there is more of all; the least of some looks counts.
SHORT_LOOKS = 12
HEAP_COUNTS = "/run/heap-count"
# Less is noise: what is private to a process has in it what its heap has free, and a container that once needs more
# room keeps it.
GROWTH_MAX = {"KiB in dom0": 16 << 10, "KiB": 512, "heap bytes": 64 << 10}


def count_heaps(lab):
    """All that is started on the hosts from now on counts what it has allocated."""
    probe = probes.install(lab, "heap-count", HOSTS)
    for host in HOSTS:
        # sshd's shell reads it; specrep's processes of both hosts come from one.
        lab.ssh(host, f"mkdir {HEAP_COUNTS} && printf 'export HEAP_COUNT={HEAP_COUNTS} LD_PRELOAD={probe}\n' >>.bashrc")


def look(lab):
    """{what: number}: memory, descriptors and threads of each process, and what dom0 has in use without caches."""
    seen = {}
    for host, names in PROCESSES.items():
        for name in names:
            pid = lab.ssh(host, f"pgrep -o {name}").stdout.strip()
            # To start a program takes such a host long.
            looks = (f"unset LD_PRELOAD; for look in $(seq {SHORT_LOOKS}); do "
                     f"set -- /proc/{pid}/fd/*; echo $#; od -An -td8 {HEAP_COUNTS}/{pid}; "
                     f"grep -E '^(RssAnon|Threads):' /proc/{pid}/status; done")
            numbers = [int(word) for word in lab.ssh(host, looks).stdout.split() if word.isdecimal()]
            kinds = ("descriptors", "heap bytes", "KiB", "threads")
            assert len(numbers) == SHORT_LOOKS * len(kinds), numbers
            seen |= {f"{name} on host {host}, {kind}": min(numbers[at::len(kinds)]) for at, kind in enumerate(kinds)}
        meminfo = dict(line.split(":") for line in lab.ssh(host, "cat /proc/meminfo").stdout.splitlines())
        seen[f"host {host}, KiB in dom0"] = int(meminfo["MemTotal"].split()[0]) - int(meminfo["MemAvailable"].split()[0])
    return seen


def run(lab):
    count_heaps(lab)
    with protected_under_load(lab, OPTIONS, DIRTY_PAGES_PER_S) as (counter, protection):
        begin = protection.status()["committed_epoch"] + int(EPOCHS * BEGIN)
        protection.wait_for_commit(begin, EPOCHS / EPOCHS_PER_S_MIN)
        first, start_s = look(lab), time.monotonic()
        for step in range(1, LOOKS + 1):
            protection.wait_for_commit(begin + EPOCHS * step // LOOKS, EPOCHS / EPOCHS_PER_S_MIN)
            last = look(lab)
            print(f"{EPOCHS * step // LOOKS} epochs, {time.monotonic() - start_s:.0f} s: {last}", flush=True)
        print("\n".join(f"{what}: {first[what]} -> {last[what]}" for what in first))
        for what, before in first.items():
            most = GROWTH_MAX.get(what.split(", ")[1], 0)
            assert last[what] - before <= most, f"{what}: {before}, then {last[what]}"
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
        protection.stop()
