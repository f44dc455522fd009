"""Snapshots of booted hosts, made when first wanted and then shared, read-only, by all labs.

  booted     both hosts, ready for work
  booted-3   a third one
  pvh, hvm   host 1 with that guest, paused; host 2 is the one of `booted`
  booted-disk, and oltp, mail, ...
             the same for the guests that run workloads (workloads.py), which need a disk;
             oltp-full, ... are under a load without pauses
  booted-replicated, booted-database
             the same for the guests with a replicated disk, which a test starts
and the same with -vt for virtual time, which a snapshot cannot change.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import tempfile

import database
import workloads
from client import ask
from common import HERE, cache_dir, digest, lock, phase
from image import REPLICATED_DISK, REPLICATED_DISK_SIZE, ensure_image, recipe_digest
from machine import GUEST_DISK_SIZE, GUEST_DISKS, Machine, qemu_version
from network import DATABASE_GUEST, DISK_GUEST, GUEST_ADDRESSES, HOSTS, WORKLOADS, Network
from ssh import Shell

BOOT_TIMEOUT_S = 600
GUEST_TIMEOUT_S = 600
# Virtual time passes that much more slowly when a host is busy.
VIRTUAL_TIME_FACTOR = 10


def in_parallel(function, items):
    """Calls function(item) for all items at once; raises what the first to fail raised."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(function, items))


def timeout_s(real_timeout_s, virtual_time):
    return real_timeout_s * (VIRTUAL_TIME_FACTOR if virtual_time else 1)


def ensure_snapshots(guest, virtual_time, full_load=False, hosts=HOSTS):
    """Returns what a lab with that guest (or None) on host 1 starts from.

    That is {host: its snapshot's folder}, and the guest's disks, the same for both hosts; a third host has none.
    """
    image = ensure_image()
    suffix = "-vt" if virtual_time else ""
    parent = cache_dir() / recipe_digest() / f"states-{_states_digest()}"
    parent.mkdir(parents=True, exist_ok=True)
    kind, disk_sizes, make_files = _hosts_for(guest)
    booted = parent / f"booted{kind}{suffix}"
    snapshots = {host: booted / f"host{host}" for host in HOSTS}
    _ensure(booted, lambda work: _boot(work, image, virtual_time, HOSTS, disk_sizes, make_files))
    for host in set(hosts) - set(HOSTS):
        alone = parent / f"booted-{host}{suffix}"
        _ensure(alone, lambda work, host=host: _boot(work, image, virtual_time, [host]))
        snapshots[host] = alone / f"host{host}"
    if not guest:
        return snapshots, []
    if guest == DISK_GUEST:
        return snapshots, [image / REPLICATED_DISK]
    if guest == DATABASE_GUEST:
        return snapshots, [database.ensure_image(), workloads.ensure_image()]
    if guest in WORKLOADS:
        disk_image = workloads.ensure_image()
        running = parent / f"{guest}{'-full' if full_load else ''}-{workloads.digest_of(guest)}{suffix}"
        _ensure(running, lambda work: _start_workload(work, image, virtual_time, snapshots[1], disk_image,
                                                      guest, full_load))
    else:
        running = parent / f"{guest}{suffix}"
        _ensure(running, lambda work: _start_guest(work, image, virtual_time, snapshots[1], guest))
    snapshots[1] = running / "host1"
    return snapshots, [snapshots[1] / GUEST_DISKS[0]] if guest in WORKLOADS else []


def _hosts_for(guest):
    """The hosts that a guest needs: what is added to their snapshot's name, their disks' sizes, and a function that
    makes files for them (see database.hosts_files())."""
    if guest in WORKLOADS:
        return "-disk", [GUEST_DISK_SIZE], None
    if guest == DISK_GUEST:
        return "-replicated", [REPLICATED_DISK_SIZE], None
    if guest == DATABASE_GUEST:
        return f"-database-{database.hosts_digest()}", [database.DISK_SIZE, GUEST_DISK_SIZE], database.hosts_files
    return "", [], None


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


def _boot(work, image, virtual_time, numbers, guest_disk_sizes=(), make_files=None):
    files = make_files(image, work) if make_files else {}
    with _workshop(image, virtual_time, numbers) as hosts:
        for machine, _ in hosts:
            machine.boot(_snapshot_folder(work, machine) / "ram", guest_disk_sizes)
        in_parallel(lambda host: _wait_until_booted(host[1], virtual_time), hosts)
        for machine, shell in hosts:
            _put(shell, files, timeout_s(GUEST_TIMEOUT_S, virtual_time))
            _freeze(work, machine, shell)


def _put(shell, files, limit_s):
    """Copies files, {name: path}, to /root of a host."""
    for name, path in files.items():
        with open(path, "rb") as content:
            shell.run(f"cat > /root/{name}", limit_s, stdin=content)


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
        machine.restore(booted, _snapshot_folder(work, machine) / "ram", [disk_image])
        limit_s = timeout_s(GUEST_TIMEOUT_S, virtual_time)
        shell.connect(limit_s)
        _put(shell, workloads.guest_files(image, work, workload, virtual_time, full_load), limit_s)
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
