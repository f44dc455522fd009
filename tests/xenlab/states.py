"""Snapshots of booted hosts, made when first wanted and then shared, read-only, by all labs.

  booted     both hosts, ready for work
  pvh, hvm   host 1 with that guest, paused; host 2 is the one of `booted`
  booted-disk, and oltp, mail, ...
             the same for the guests that run workloads (workloads.py), which need a disk;
             oltp-full, ... are under a load without pauses
  booted-replicated
             the same for the guest with a replicated disk, which a test starts
and the same with -vt for virtual time, which a snapshot cannot change.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import tempfile

import workloads
from client import ask
from common import HERE, cache_dir, digest, lock, phase
from image import REPLICATED_DISK, REPLICATED_DISK_SIZE, ensure_image, recipe_digest
from machine import GUEST_DISK, GUEST_DISK_SIZE, Machine, qemu_version
from network import DISK_GUEST, GUEST_ADDRESSES, HOSTS, WORKLOADS, Network
from ssh import Shell

BOOT_TIMEOUT_S = 240
GUEST_TIMEOUT_S = 240
# Virtual time passes that much more slowly when a host is busy.
VIRTUAL_TIME_FACTOR = 10


def in_parallel(function, items):
    """Calls function(item) for all items at once; raises what the first to fail raised."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(function, items))


def timeout_s(real_timeout_s, virtual_time):
    return real_timeout_s * (VIRTUAL_TIME_FACTOR if virtual_time else 1)


def ensure_snapshots(guest, virtual_time, full_load=False):
    """Returns what a lab with that guest (or None) on host 1 starts from.

    That is {host: its snapshot's folder}, and the guest's disk for both hosts (or None).
    """
    image = ensure_image()
    suffix = "-vt" if virtual_time else ""
    parent = cache_dir() / recipe_digest() / f"states-{_states_digest()}"
    parent.mkdir(parents=True, exist_ok=True)
    has_disk = guest in WORKLOADS
    kind, disk_size = ("-disk", GUEST_DISK_SIZE) if has_disk else (
        ("-replicated", REPLICATED_DISK_SIZE) if guest == DISK_GUEST else ("", None))
    booted = parent / f"booted{kind}{suffix}"
    snapshots = {host: booted / f"host{host}" for host in HOSTS}
    _ensure(booted, lambda work: _boot(work, image, virtual_time, disk_size))
    if not guest:
        return snapshots, None
    if guest == DISK_GUEST:
        return snapshots, image / REPLICATED_DISK
    if has_disk:
        disk_image = workloads.ensure_image()
        running = parent / f"{guest}{'-full' if full_load else ''}-{workloads.digest_of(guest)}{suffix}"
        _ensure(running, lambda work: _start_workload(work, image, virtual_time, snapshots[1], disk_image,
                                                      guest, full_load))
    else:
        running = parent / f"{guest}{suffix}"
        _ensure(running, lambda work: _start_guest(work, image, virtual_time, snapshots[1], guest))
    snapshots[1] = running / "host1"
    return snapshots, snapshots[1] / GUEST_DISK if has_disk else None


def _states_digest():
    """What a snapshot depends on besides the image: how QEMU is run, and which one."""
    return digest([HERE / name for name in ("machine.py", "network.py", "states.py")], qemu_version())


def _ensure(state, make):
    with lock(state.parent / f"{state.name}.lock", f"another xenlab is making {state}; waiting for it"):
        if not state.exists():
            with phase(f"making the snapshot {state.name}"), \
                    tempfile.TemporaryDirectory(prefix=f"tmp-{state.name}-", dir=state.parent) as work:
                make(pathlib.Path(work))
                os.rename(pathlib.Path(work) / "out", state)


def _boot(work, image, virtual_time, guest_disk_size):
    with _workshop(image, virtual_time, HOSTS) as hosts:
        for machine, _ in hosts:
            machine.boot(_snapshot_folder(work, machine) / "ram", guest_disk_size)
        in_parallel(lambda host: _wait_until_booted(host[1], virtual_time), hosts)
        for machine, shell in hosts:
            _freeze(work, machine, shell)


def _start_guest(work, image, virtual_time, booted, guest):
    with _workshop(image, virtual_time, [1]) as hosts:
        machine, shell = hosts[0]
        machine.restore(booted, ram_file=_snapshot_folder(work, machine) / "ram")
        limit_s = timeout_s(GUEST_TIMEOUT_S, virtual_time)
        shell.connect(limit_s)
        shell.run(f"xl create /root/{guest}.cfg", limit_s)
        ask(machine.network, GUEST_ADDRESSES[guest], "peek", limit_s)
        _freeze_paused(work, machine, shell, guest, limit_s)


def _start_workload(work, image, virtual_time, booted, disk_image, workload, full_load):
    with _workshop(image, virtual_time, [1]) as hosts:
        machine, shell = hosts[0]
        machine.restore(booted, _snapshot_folder(work, machine) / "ram", disk_image)
        limit_s = timeout_s(GUEST_TIMEOUT_S, virtual_time)
        shell.connect(limit_s)
        for name, content in workloads.guest_files(image, work, workload, virtual_time, full_load).items():
            with open(content, "rb") as file:
                shell.run(f"cat > /root/{name}", limit_s, stdin=file)
        shell.run(f"xl create /root/{workload}.cfg", limit_s)
        workloads.warm_up(machine.network, workload, limit_s)
        _freeze_paused(work, machine, shell, workload, limit_s)


def _freeze_paused(work, machine, shell, guest, limit_s):
    # QEMU saves a CPU that is inside a nested guest, but refuses to load it: "vCPU set in
    # guest-mode inconsistent with migrated kernel nested state". Lab.start() lets it run.
    shell.run(f"xl pause {guest}", limit_s)
    _freeze(work, machine, shell)


@contextlib.contextmanager
def _workshop(image, virtual_time, numbers):
    """Hosts in a throw-away network, as (machine, shell), that are gone in the end whatever happens."""
    # Not in the cache, whose path may be too long for a UNIX socket.
    with tempfile.TemporaryDirectory(prefix="specrep-xenlab-", dir="/var/tmp") as folder:
        folder = pathlib.Path(folder)
        network = Network(folder)
        hosts = [(Machine(number, folder, network, image, virtual_time),
                  Shell(number, folder, network, image / "id")) for number in numbers]
        network.up()
        try:
            yield hosts
        finally:
            for machine, shell in hosts:
                shell.disconnect()
                machine.power_cut()
            network.down()


def _wait_until_booted(shell, virtual_time):
    limit_s = timeout_s(BOOT_TIMEOUT_S, virtual_time)
    shell.connect(limit_s)
    shell.run("systemctl is-system-running --wait >/dev/null; xl list", limit_s)


def _snapshot_folder(work, machine):
    folder = work / "out" / f"host{machine.number}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _freeze(work, machine, shell):
    shell.run("sync", BOOT_TIMEOUT_S)
    shell.disconnect()
    machine.freeze(_snapshot_folder(work, machine))
