"""Whether a protection's processes, and dom0, have more memory, descriptors or threads after some epochs."""

import time

import probes
import sanitizer
from network import HOSTS

PROCESSES = {1: ("xl-specrep", "specrep-primary"), 2: ("xl-specrep", "specrep-backup", "libxl-save-help")}
# Within an epoch, there is more of all; the least of some looks counts.
SHORT_LOOKS = 12
LOOKS = 10
# To ask how far it is takes an emulated host as long as some epochs.
POLL_S = 5
HEAP_COUNTS = "/run/heap-count"
# Less is noise: what is private to a process has in it what its heap has free, and a container that once needs more
# room keeps it.
GROWTH_MAX = {"KiB in dom0": 16 << 10, "KiB": 512, "heap bytes": 64 << 10}


def count_heaps(lab):
    """All that is started on the hosts from now on counts what it has allocated.

    AddressSanitizer's allocator leaves no room for another, and keeps what was freed for a while: with it, memory is
    not looked at.
    """
    if sanitizer.built_in(lab):
        return
    probe = probes.install(lab, "heap-count", HOSTS)
    for host in HOSTS:
        # sshd's shell reads it; specrep's processes of both hosts come from one.
        lab.ssh(host, f"mkdir {HEAP_COUNTS} && printf 'export HEAP_COUNT={HEAP_COUNTS} LD_PRELOAD={probe}\n' >>.bashrc")


def look(lab):
    """{what: number}: memory, descriptors and threads of each process, and what dom0 has in use without caches."""
    seen = {}
    memory = not sanitizer.built_in(lab)
    for host, names in PROCESSES.items():
        for name in names:
            pid = lab.ssh(host, f"pgrep -o {name}").stdout.strip()
            # To start a program takes such a host long.
            looks = (f"unset LD_PRELOAD; for look in $(seq {SHORT_LOOKS}); do "
                     f"set -- /proc/{pid}/fd/*; echo $#; grep '^Threads:' /proc/{pid}/status; ")
            kinds = ("descriptors", "threads")
            if memory:
                looks += f"od -An -td8 {HEAP_COUNTS}/{pid}; grep '^RssAnon:' /proc/{pid}/status; "
                kinds += ("heap bytes", "KiB")
            numbers = [int(word) for word in lab.ssh(host, f"{looks}done").stdout.split() if word.isdecimal()]
            assert len(numbers) == SHORT_LOOKS * len(kinds), numbers
            seen |= {f"{name} on host {host}, {kind}": min(numbers[at::len(kinds)]) for at, kind in enumerate(kinds)}
        if not memory:
            continue
        meminfo = dict(line.split(":") for line in lab.ssh(host, "cat /proc/meminfo").stdout.splitlines())
        seen[f"host {host}, KiB in dom0"] = int(meminfo["MemTotal"].split()[0]) - int(meminfo["MemAvailable"].split()[0])
    return seen


def follow(lab, protection, epochs, epochs_per_s_min):
    """Looks when a tenth of so many `epochs` has been committed, and ten times during so many more; asserts that nothing
    has grown. Prints each look."""
    def wait(epoch):
        protection.wait_for_commit(epoch, epochs / epochs_per_s_min, POLL_S)

    # What is not there at once, such as caches and histories, is there by then.
    begin = protection.status()["committed_epoch"] + epochs // LOOKS
    wait(begin)
    first, start_s = look(lab), time.monotonic()
    for step in range(1, LOOKS + 1):
        wait(begin + epochs * step // LOOKS)
        last = look(lab)
        print(f"{epochs * step // LOOKS} epochs, {time.monotonic() - start_s:.0f} s: {last}", flush=True)
    print("\n".join(f"{what}: {first[what]} -> {last[what]}" for what in first))
    for what, before in first.items():
        most = GROWTH_MAX.get(what.split(", ")[1], 0)
        assert last[what] - before <= most, f"{what}: {before}, then {last[what]}"
