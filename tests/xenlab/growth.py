"""Whether a protection's processes, and dom0, have more memory, descriptors or threads after some epochs."""

import time

import probes
import sanitizer
from network import HOSTS
from protection import PROGRAMS

# Within an epoch, there is more of all; the least of some looks counts.
SHORT_LOOKS = 12
LOOKS = 10
# To ask how far it is takes an emulated host as long as some ten epochs.
POLL_S = 20
HEAP_COUNTS = "/run/heap-count"
# Less is noise: what is private to a process has in it what its heap has free, such as the MiB that specrep-backup had
# for an epoch's pages, and a container that once needs more room keeps it.
GROWTH_MAX = {"KiB in dom0": 16 << 10, "KiB": 2 << 10, "heap bytes": 64 << 10}


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


def find_processes(lab):
    """[(host, what it is called in looks, pid)] of all that protect a guest, or take its copy."""
    found = []
    for host in HOSTS:
        for line in lab.ssh(host, f"pgrep -l '{PROGRAMS}'").stdout.splitlines():
            pid, name = line.split(maxsplit=1)
            found.append((host, f"{name} {pid} on host {host}", pid))
    return sorted(found)


def look(lab, processes, memory):
    """{what: number}: descriptors and threads of each process and, if asked for, its memory and what dom0 has in use
    without caches."""
    seen = {}
    for host, name, pid in processes:
        # To start a program takes such a host long.
        looks = (f"for look in $(seq {SHORT_LOOKS}); do set -- /proc/{pid}/fd/*; echo $#; "
                 f"grep -E '^(Threads|RssAnon):' /proc/{pid}/status; done")
        if memory:
            # What is counted becomes the least, and what that is after the looks is read.
            heap = f"{HEAP_COUNTS}/{pid}"
            looks = (f"unset LD_PRELOAD; dd if={heap} of={heap} bs=8 count=1 seek=1 conv=notrunc status=none; {looks}; "
                     f"od -An -td8 -j8 {heap}")
        numbers = [int(word) for word in lab.ssh(host, looks).stdout.split() if word.isdecimal()]
        if memory:
            seen[f"{name}, heap bytes"] = numbers.pop()
        kinds = ("descriptors", "KiB", "threads")
        assert len(numbers) == SHORT_LOOKS * len(kinds), (name, numbers)
        seen |= {f"{name}, {kind}": min(numbers[at::len(kinds)]) for at, kind in enumerate(kinds)
                 if memory or kind != "KiB"}
    for host in HOSTS if memory else ():
        meminfo = dict(line.split(":") for line in lab.ssh(host, "cat /proc/meminfo").stdout.splitlines())
        seen[f"host {host}, KiB in dom0"] = int(meminfo["MemTotal"].split()[0]) - int(meminfo["MemAvailable"].split()[0])
    return seen


def follow(lab, protections, epochs, epochs_per_s_min):
    """Looks whenever each of `protections` has committed another tenth of so many `epochs`, and prints what it sees;
    asserts that nothing has grown since the first look."""
    memory = not sanitizer.built_in(lab)
    begins = [protection.status()["committed_epoch"] for protection in protections]
    # What is not there at once, such as caches and histories, is there by the first.
    first, start_s = None, time.monotonic()
    for step in range(1, LOOKS + 1):
        more = epochs * step // LOOKS
        for protection, begin in zip(protections, begins):
            protection.wait_for_commit(begin + more, epochs / epochs_per_s_min, POLL_S)
        if not first:
            processes = find_processes(lab)
        last = look(lab, processes, memory)
        first = first or last
        print(f"{more} epochs, {time.monotonic() - start_s:.0f} s: {last}", flush=True)
    assert find_processes(lab) == processes
    print("\n".join(f"{what}: {first[what]} -> {last[what]}" for what in first))
    for what, before in first.items():
        most = GROWTH_MAX.get(what.split(", ")[1], 0)
        assert last[what] - before <= most, f"{what}: {before}, then {last[what]}"
