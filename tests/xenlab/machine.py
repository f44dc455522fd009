"""One Xen host: a QEMU process, its monitor, and its snapshots.

A snapshot of a host is a folder of three files, never written again:
  disk.qcow2  what its disk had more than the image
  guest.qcow2 the same for the disk of its guest, if it has one; guest2.qcow2 for another
  ram         its memory, which a restored host maps privately: the file is
              not read but paged in, and all copies share it
  device      everything else, as QEMU's migration stream
QEMU calls this VM templating (its migration capability x-ignore-shared).
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from common import LabError, run
from network import PURPOSES, mac, tap

RAM_MIB = 3072
# Without these Xen or its guests crash, or dom0's registers are corrupted under TCG.
CPU = "max,-smap,-smep,-la57,-rdtscp,-xsave,-avx,-avx2"
XEN_OPTIONS = ("console=com1 com1=115200,8n1 dom0_mem=1024M,max:1024M dom0_max_vcpus=1 "
               "loglvl=all spec-ctrl=no bootscrub=0")
DOM0_OPTIONS = "root=/dev/vda rw console=hvc0 quiet mitigations=off net.ifnames=0 systemd.show_status=no"

DISK = "disk.qcow2"
GUEST_DISKS = ("guest.qcow2", "guest2.qcow2")
GUEST_DISK_SIZE = "4G"

MONITOR_TIMEOUT_S = 120
QUIT_TIMEOUT_S = 30


def qemu_version():
    return run(["qemu-system-x86_64", "--version"], "ask QEMU for its version").stdout.splitlines()[0]


def accelerator(virtual_time):
    """In virtual time one instruction is one nanosecond of the host's time."""
    if virtual_time:
        return ["-accel", "tcg,thread=single", "-icount", "shift=0"]
    return ["-accel", "tcg,thread=multi"]


class Machine:
    """Host `number` of the lab in `folder`. Its process outlives this object.

    With `durable_disks` a power cut leaves on /dev/vdb and /dev/vdc all that was flushed.
    """

    def __init__(self, number, folder, network, image, virtual_time, durable_disks=False):
        self.number = number
        self.folder = pathlib.Path(folder) / f"host{number}"
        self.network = network
        self.image = image
        self.virtual_time = virtual_time
        self.durable_disks = durable_disks

    @property
    def _pid_file(self):
        return self.folder / "pid"

    @property
    def serial_log(self):
        return self.folder / "serial.log"

    def boot(self, ram_file=None, guest_disk_sizes=()):
        """Starts from power-off, with the disks as they are. With `ram_file` it can be snapshotted.

        With `guest_disk_sizes` it gets /dev/vdb, and /dev/vdc, still empty, for a guest.
        """
        self.folder.mkdir(exist_ok=True)
        if not (self.folder / DISK).exists():
            self._make_disk(DISK, self.image / "base.img")
            for name, size in zip(GUEST_DISKS, guest_disk_sizes):
                run(["qemu-img", "create", "-q", "-f", "qcow2", self.folder / name, size], "make a guest's disk")
        if ram_file is None:
            backend = "memory-backend-ram,prealloc=off"
        else:
            backend = f"memory-backend-file,mem-path={ram_file},share=on"
        self._start(backend, [])

    def restore(self, snapshot, ram_file=None, guest_disks=()):
        """Goes on from a snapshot. With `ram_file`, a copy of the memory, it can be snapshotted again.

        `guest_disks` are the images of what /dev/vdb and /dev/vdc are to hold, if the host has them.
        """
        self.folder.mkdir(exist_ok=True)
        self._make_disk(DISK, snapshot / DISK)
        for name, image in zip(GUEST_DISKS, guest_disks):
            self._make_disk(name, image)
        if ram_file is None:
            backend = f"memory-backend-file,mem-path={snapshot}/ram,share=off"
        else:
            run(["cp", "--sparse=always", snapshot / "ram", ram_file], "copy a host's memory")
            backend = f"memory-backend-file,mem-path={ram_file},share=on"
        self._start(backend, ["-incoming", "defer"])
        with self._monitor() as monitor:
            monitor.ignore_shared_memory()
            monitor.command("migrate-incoming", uri=f"exec:cat '{snapshot}/device'")
            monitor.wait_until_migrated()
            monitor.command("cont")

    def freeze(self, snapshot):
        """Makes a snapshot of a host that has its memory in `snapshot`/ram, and ends the host."""
        with self._monitor() as monitor:
            monitor.command("stop")
            monitor.ignore_shared_memory()
            monitor.command("migrate", uri=f"exec:cat > '{snapshot}/device'")
            monitor.wait_until_migrated()
            monitor.command("quit")
        self._wait_until_gone()
        for disk in (DISK, *GUEST_DISKS):
            if (self.folder / disk).exists():
                shutil.move(self.folder / disk, snapshot / disk)
        # Xen zeroes the memory that it frees: holes in the file are the same and cost nothing.
        run(["fallocate", "--dig-holes", snapshot / "ram"], "shrink a host's memory file")

    def power_cut(self):
        """Ends the process at once, as when the power fails. Not an error if it has ended already."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self._wait_until_gone()

    def pid(self):
        """The QEMU process's id, or None if it does not run."""
        try:
            pid = int(self._pid_file.read_text())
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if str(self._pid_file).encode() in words else None

    def _make_disk(self, name, backing):
        backing_format = "qcow2" if backing.suffix == ".qcow2" else "raw"
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", os.path.realpath(backing),
             "-F", backing_format, self.folder / name], "make a host's disk")

    def _start(self, memory_backend, options):
        argv = ["qemu-system-x86_64", "-name", f"xen{self.number}", "-pidfile", self._pid_file,
                *accelerator(self.virtual_time), "-cpu", CPU, "-smp", "1",
                "-object", f"{memory_backend},id=ram,size={RAM_MIB}M",
                "-machine", "q35,memory-backend=ram", "-m", RAM_MIB,
                "-nodefaults", "-display", "none", "-serial", f"file:{self.serial_log}",
                "-qmp", f"unix:{self.folder}/qmp,server=on,wait=off",
                "-kernel", self.image / "xen.elf", "-append", XEN_OPTIONS,
                "-initrd", self._modules(),
                "-drive", f"file={self.folder}/{DISK},if=virtio,format=qcow2,cache=writeback"]
        # A guest's database flushes all the time, and this machine's disk is not what is measured.
        cache = "writeback" if self.durable_disks else "unsafe"
        for disk in GUEST_DISKS:
            if (self.folder / disk).exists():
                argv += ["-drive", f"file={self.folder}/{disk},if=virtio,format=qcow2,cache={cache}"]
        for purpose in PURPOSES:
            argv += ["-netdev", f"tap,id={purpose},ifname={tap(purpose, self.number)},script=no,downscript=no",
                     "-device", f"virtio-net-pci,netdev={purpose},mac={mac(purpose, self.number)},romfile="]
        with open(self.folder / "qemu.log", "a") as log:
            process = subprocess.Popen(
                self.network.inside([*argv, *options]), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True)
        deadline_s = time.monotonic() + MONITOR_TIMEOUT_S
        while not ((self.folder / "qmp").exists() and self.pid()):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise LabError(f"cannot start host {self.number}: "
                               f"{(self.folder / 'qemu.log').read_text().strip() or 'QEMU says nothing'}")
            time.sleep(0.02)

    def _modules(self):
        """dom0's kernel with its options, then its initramfs: what multiboot calls modules."""
        options = f"{DOM0_OPTIONS} labid={self.number}".replace(",", ",,")
        return f"{self.image}/vmlinux {options},{self.image}/initrd.img"

    def _monitor(self):
        return Monitor(self.folder / "qmp")

    def _wait_until_gone(self):
        deadline_s = time.monotonic() + QUIT_TIMEOUT_S
        while self.pid() is not None:
            if time.monotonic() > deadline_s:
                raise LabError(f"host {self.number}'s QEMU (process {self.pid()}) does not end")
            time.sleep(0.02)
        (self.folder / "qmp").unlink(missing_ok=True)
        self._pid_file.unlink(missing_ok=True)


class Monitor:
    """A connection to QEMU's monitor (QMP)."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(MONITOR_TIMEOUT_S)
        self._connect(str(path))
        self._lines = self._socket.makefile("r")
        self._lines.readline()  # the greeting
        self.command("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._lines.close()
        self._socket.close()

    def _connect(self, path):
        deadline_s = time.monotonic() + MONITOR_TIMEOUT_S
        while True:
            try:
                return self._socket.connect(path)
            except ConnectionRefusedError:  # QEMU has made the socket, and does not listen yet
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.02)

    def command(self, name, **arguments):
        self._socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        for line in self._lines:
            reply = json.loads(line)
            if "error" in reply:
                raise LabError(f"QEMU refuses {name}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]
        if name == "quit":
            return None
        raise LabError(f"QEMU ended during {name}; its reason is in qemu.log in the lab's folder")

    def ignore_shared_memory(self):
        """Leaves the memory's contents to its file."""
        self.command("migrate-set-capabilities",
                     capabilities=[{"capability": "x-ignore-shared", "state": True}])

    def wait_until_migrated(self):
        deadline_s = time.monotonic() + MONITOR_TIMEOUT_S
        while True:
            status = self.command("query-migrate").get("status", "none")
            if status == "completed":
                return
            if status in ("failed", "cancelled") or time.monotonic() > deadline_s:
                raise LabError(f"QEMU's snapshot stream is {status}; see qemu.log in the lab's folder")
            time.sleep(0.02)
