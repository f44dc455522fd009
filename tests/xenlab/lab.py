"""A running lab: two Xen hosts and their networks. This is what tests are given."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

from client import POWER_PORT, Counter, ask
from commits import Commits
from common import LabError, phase
from etcd import Etcd
from image import ensure_image
from journal import Journal
from machine import Machine
from network import CLIENT_ADDRESS, DISK_GUESTS, GUEST_ADDRESSES, HOSTS, Network
from observer import Observer
from package import install
from protection import Protection
from shared_folder import SharedFolder
from ssh import Shell
from states import BOOT_TIMEOUT_S, GUEST_TIMEOUT_S, ensure_snapshots, in_parallel, timeout_s
from witness import Witness

SSH_TIMEOUT_S = 120
PUT_TIMEOUT_S = 300
GUEST_ANSWER_TIMEOUT_S = 60
WAIT_INTERVAL_S = 0.1
CLOCK_TRIES = 5
# Under emulation Xen may at first misjudge its TSC when it restarts without a power cut, and corrects itself; a dom0 that
# was told then that it has 41 GHz keeps a clock that is as much too slow, unless it reads Xen's.
CLOCK_SOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
# Of a disk of 128 MiB, emulated.
DIGEST_TIMEOUT_S = 180


class Lab:
    """The lab in one folder. It goes on when this object is gone; Lab.attach() finds it again.

    `guest` is the guest that runs on host 1 from the start (None for none; it may be a
    workload; one with a replicated disk runs once a test has called start_disk_guest()), and
    `virtual_time` tells whether the hosts' time passes with their instructions.
    """

    CLIENT_ADDRESS = CLIENT_ADDRESS
    GUEST_ADDRESSES = GUEST_ADDRESSES

    def __init__(self, folder, guest, virtual_time, hosts=HOSTS):
        self.folder = pathlib.Path(folder)
        self.guest = guest
        self.virtual_time = virtual_time
        self.network = Network(self.folder)
        image = ensure_image()
        self.machines = {host: Machine(host, self.folder, self.network, image, virtual_time,
                                       durable_disks=guest in DISK_GUESTS) for host in hosts}
        self._shells = {host: Shell(host, self.folder, self.network, image / "id") for host in hosts}

    @classmethod
    def start(cls, folder, guest=None, virtual_time=False, hosts=HOSTS, full_load=False, powered=None):
        """Starts a fresh lab from snapshots (which are made if missing).

        Of its `hosts` the `powered` ones get power, all unless told; `full_load` lets a workload run without pauses.
        """
        folder = pathlib.Path(folder)
        if (folder / "lab.json").exists():
            raise LabError(f"a lab is up already in {folder}; run scripts/xenlab down first")
        powered = hosts if powered is None else powered
        snapshots, guest_disks = ensure_snapshots(guest, virtual_time, full_load, hosts)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        lab = cls(folder, guest, virtual_time, hosts)
        try:
            (folder / "lab.json").write_text(json.dumps({"guest": guest, "virtual_time": virtual_time, "hosts": hosts}))
            with phase("starting the lab from its snapshots"):
                lab.network.up()
                for host in powered:
                    lab.machines[host].restore(snapshots[host], guest_disks=guest_disks)
                in_parallel(lab.connect, powered)
                if guest not in (None, *DISK_GUESTS):
                    lab.ssh(1, f"xl unpause {guest}")
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    @contextlib.contextmanager
    def fresh(cls, folder, guest, package):
        """A lab with that guest and an installed package, for as long as `with` lasts."""
        lab = cls.start(folder, guest)
        try:
            lab.push(package)
            yield lab
        finally:
            lab.down()

    @classmethod
    def attach(cls, folder):
        """The lab that runs in `folder`; raises LabError if there is none."""
        try:
            settings = json.loads((pathlib.Path(folder) / "lab.json").read_text())
        except FileNotFoundError:
            raise LabError("no lab is up; run scripts/xenlab up first") from None
        return cls(folder, **settings)

    def down(self):
        """Ends the hosts and removes everything but the cached snapshots."""
        for host in self.machines:
            self.power_cut(host)
        self.network.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Hosts

    def ssh(self, host, command, timeout=SSH_TIMEOUT_S, check=True):
        """Runs a shell command as root on a host; returns a CompletedProcess with text.

        A command that fails raises LabError unless `check` is false; one that
        takes longer than `timeout` seconds always does.
        """
        return self._shells[host].run(command, timeout_s(timeout, self.virtual_time), check)

    def ssh_start(self, host, command):
        """Starts a shell command on a host; returns a Popen with text pipes.

        Killing it does not end the command on the host: use pkill there.
        """
        return subprocess.Popen(self.ssh_argv(host, command), text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def put(self, host, paths, folder):
        """Copies files into a folder of a host, which is made if it is not there."""
        with tempfile.TemporaryFile() as archive:
            names = [word for path in map(pathlib.Path, paths) for word in ("-C", path.parent.resolve(), path.name)]
            subprocess.run(["tar", "-c", *names], check=True, stdout=archive)
            archive.seek(0)
            self._shells[host].run(f"mkdir -p {folder} && tar -x --no-same-owner -C {folder}", PUT_TIMEOUT_S,
                                   stdin=archive)

    def ssh_argv(self, host, command=None, terminal=False):
        """The command line that ssh() runs; without a command, a login shell's."""
        return self._shells[host].argv(command, terminal)

    def power_cut(self, host):
        """The host's power fails: it ends between two instructions, and its cards go silent."""
        self._shells[host].disconnect()
        self.machines[host].power_cut()

    def power_on(self, host):
        """Boots a host whose power was cut, from its disk as it was then; returns when it takes commands."""
        self.machines[host].boot()
        with phase(f"booting host {host}"):
            self.wait_for_boot(host)

    def wait_for_boot(self, host):
        """Waits for a host that boots, for example because a watchdog reset it."""
        limit_s = timeout_s(BOOT_TIMEOUT_S, self.virtual_time)
        self._shells[host].disconnect()
        self.connect(host, limit_s)
        self._shells[host].run("systemctl is-system-running --wait >/dev/null; xl list", limit_s)

    def is_running(self, host):
        """Whether the host has power; it says nothing about what runs on it."""
        return self.machines[host].pid() is not None

    def console(self, host):
        """What Xen and dom0 wrote on the serial line."""
        return self.machines[host].serial_log.read_text(errors="replace")

    def domains(self, host):
        """The names of the guests on a host."""
        lines = self.ssh(host, "xl list").stdout.splitlines()[2:]
        return [line.split()[0] for line in lines]

    def clock_offset(self, host):
        """The host's CLOCK_REALTIME minus this machine's, in seconds: of several tries, the quickest's."""
        tries = []
        for _ in range(CLOCK_TRIES):
            before_s = time.time()
            host_s = float(self.ssh(host, "date +%s.%N").stdout)
            after_s = time.time()
            tries.append((after_s - before_s, host_s - (before_s + after_s) / 2))
        return min(tries)[1]

    def push(self, package=None):
        """Installs the current build on all hosts that have power (see package.py)."""
        install({host: self._shells[host] for host in self.machines if self.is_running(host)}, self.folder, package)

    def connect(self, host, limit_s=SSH_TIMEOUT_S):
        """Connects to a host that has just come up, and tells it what time it is."""
        shell = self._shells[host]
        shell.connect(timeout_s(limit_s, self.virtual_time))
        if not self.virtual_time:
            shell.run(f"echo xen > {CLOCK_SOURCE} && date -s @{time.time():.3f}", SSH_TIMEOUT_S)

    # Network

    def partition(self):
        """Cuts the replication link: packets vanish in both directions, the carrier stays."""
        self.network.partition()

    def heal(self):
        self.network.heal()

    def client_cmd(self, argv):
        """The command line that runs `argv` outside both hosts, on the guests' network."""
        return self.network.inside(argv)

    # Guests

    def Counter(self, address, interval_ms=50):
        """Starts a client that counts with the guest at `address`; see client.Counter."""
        log = self.folder / f"counter-{address}-{time.monotonic_ns()}.log"
        return Counter(self.network, address, log, interval_ms)

    def Witness(self):
        """Starts to ask the lab's guest at all its cards; see witness.Witness."""
        log = self.folder / f"witness-{time.monotonic_ns()}.log"
        return Witness(self.network, self.GUEST_ADDRESSES[self.guest], self.macs(), log)

    def macs(self):
        """The addresses of the cards of the lab's guest on host 1."""
        return [line.split()[2] for line in self.ssh(1, f"xl network-list {self.guest}").stdout.splitlines()[1:]]

    def restart_guest(self, cards):
        """Starts the lab's guest anew on host 1, with these network cards (as in `vif`); returns when it answers."""
        vif = ", ".join(f'"{card}"' for card in cards)
        file = f"/root/{self.guest}.cfg"
        self.ssh(1, f"xl destroy {self.guest} && sed -i -e 's/^vif =.*/vif = [{vif}]/' "
                    f"-e 's/labaddress/labcards={len(cards)} &/' {file} && xl create {file}", GUEST_TIMEOUT_S)
        self.ask(self.GUEST_ADDRESSES[self.guest], "peek", GUEST_TIMEOUT_S)

    def start_disk_guest(self, edit="", host=1, config=None, timeout=GUEST_TIMEOUT_S):
        """Starts the guest with the replicated disk on a host, whose configuration sed changes by `edit`."""
        file = f"/root/{config or self.guest}.cfg"
        self.ssh(host, f"sed -i -e '{edit}' {file} && xl create -q {file}", timeout)
        self.ask(self.GUEST_ADDRESSES[self.guest], "peek", timeout)

    def Journal(self):
        """Starts to have the guest write to its replicated disk; see journal.Journal."""
        log = self.folder / f"journal-{time.monotonic_ns()}.log"
        return Journal(self.network, self.GUEST_ADDRESSES[self.guest], log)

    def Commits(self):
        """Starts to have the guest's database commit; see commits.Commits."""
        log = self.folder / f"commits-{time.monotonic_ns()}.log"
        return Commits(self.network, self.GUEST_ADDRESSES[self.guest], log)

    def disk_status(self, host):
        """What specrep-disk knows of a host's disks."""
        return json.loads(self.ssh(host, "specrep-disk status --json").stdout)

    def disk_digest(self, host, path="/dev/vdb", timeout=DIGEST_TIMEOUT_S):
        """What a host's disk holds, in short; no cache has a part in it."""
        drop = "sync; echo 3 > /proc/sys/vm/drop_caches"
        return self.ssh(host, f"{drop}; sha256sum {path}", timeout).stdout.split()[0]

    def check_file_system(self, host, path="/dev/vdb"):
        """Asserts that the file system of a guest that has ended is clean."""
        checked = self.ssh(host, f"e2fsck -fn {path}", DIGEST_TIMEOUT_S, check=False)
        assert checked.returncode == 0, f"e2fsck on host {host}: {checked.stdout}{checked.stderr}"

    def ask(self, address, line, timeout=GUEST_ANSWER_TIMEOUT_S):
        """One line to the counter's port ("peek", "next", "dirty 100"), one answer, no lasting connection."""
        return ask(self.network, address, line, timeout_s(timeout, self.virtual_time))

    def workload(self, timeout=GUEST_ANSWER_TIMEOUT_S):
        """What the workload says of itself: a dictionary with "operations" since it started, "uptime_s", ..."""
        return json.loads(self.ask(self.GUEST_ADDRESSES[self.guest], "", timeout))

    def guest_power(self, address, what):
        """Makes the guest do "poweroff", "reboot" or "crash" to itself."""
        ask(self.network, address, what, GUEST_ANSWER_TIMEOUT_S, POWER_PORT)

    def protect(self, options="", guest=None, host=1):
        """Starts `xl remus-spec` on a host for its guest; see protection.Protection."""
        return Protection(self, guest or self.guest, options, host)

    def protections(self, host):
        """What `xl remus-spec-list --json` says."""
        return json.loads(self.ssh(host, "xl remus-spec-list --json").stdout)

    def output_buffers(self, host):
        """The devices that hold back guests' output on a host (see scripts/specrep-netbuf)."""
        return self.ssh(host, "cd /sys/class/net && ls -d srb* 2>/dev/null", check=False).stdout.split()

    def Observer(self):
        """Starts to watch which host the guest's frames come from; see observer.Observer."""
        log = self.folder / f"observer-{time.monotonic_ns()}.log"
        return Observer(self.network, self.macs()[0], self.GUEST_ADDRESSES[self.guest], log)

    def etcd(self):
        """A real etcd outside both hosts, for `with`; its url is what --arbiter takes."""
        return Etcd(self.network, self.folder)

    def shared_folder(self):
        """A folder outside both hosts that both see by NFS, for `with`; its url is what --arbiter takes."""
        return SharedFolder(self)

    def wait_for(self, predicate, timeout, what):
        """Calls `predicate` until it returns something true, and returns that."""
        deadline_s = time.monotonic() + timeout
        while True:
            result = predicate()
            if result:
                return result
            assert time.monotonic() < deadline_s, f"waited {timeout} s in vain for {what}"
            time.sleep(WAIT_INTERVAL_S)

    def status(self):
        """Everything about the lab, for people and for programs."""
        return {
            "folder": str(self.folder),
            "guest": self.guest,
            "virtual_time": self.virtual_time,
            "namespace": self.network.name,
            "replication": "joined" if self.network.is_joined() else "partitioned",
            "hosts": {str(host): {"pid": machine.pid()} for host, machine in self.machines.items()},
        }
