"""What the tests of replicated disks share: the guest under a load, power cuts, and what must be true in the end."""

import contextlib
import dataclasses
import random
import time

from cut import RUN_MAX_S, RUN_MIN_S
from explain import wait_for_failover
from journal import summary
from network import replication_address

# A host has little to give: this much while protection starts, and that much under test.
CALM_PER_S, CHURN_PER_S = 5, 40
CUT_OPTIONS = "-i 200 --timeout 3000"
# What was on its way at a cut has arrived by then.
ARRIVED_S = 0.3
GOING_S = 120
FAILOVER_TIMEOUT_S = 240
END_S = 120
SERVER, SUPERVISOR = "nbdkit", "specrep-diskd"


@contextlib.contextmanager
def journal_load(lab):
    """The journal's client, while the guest writes to its disk for it and by itself, for now not much."""
    with lab.Journal() as journal:
        journal.wait_for_all(GOING_S)
        journal.churn(CALM_PER_S)
        yield journal


@contextlib.contextmanager
def database_load(lab):
    """The database's clients, which it answers."""
    with lab.Commits() as commits:
        commits.wait_for_all(GOING_S)
        yield commits


@contextlib.contextmanager
def protected(lab, options=CUT_OPTIONS):
    with lab.protect(options) as protection:
        yield protection.wait_until_protected()


@dataclasses.dataclass(frozen=True)
class Cut:
    """A power cut of host 1, as those saw it who had the guest write. Times are from the cut."""

    first_s: float  # to the next acknowledgement
    all_s: float  # until each connection had one
    failover: dict  # as specrep-backup recorded it
    checked: str = ""  # what was found afterwards, in words

    def __str__(self):
        return (f"{self.checked}; epoch {self.failover['epoch']}, {self.failover['dropped_disk_writes']} writes "
                f"dropped; acknowledged again after {self.first_s:.2f} s, on all connections {self.all_s:.2f} s")


def cut_power(lab, load):
    """Cuts host 1's power at a random moment under the load of a guest that is protected, and waits until all of it
    goes on."""
    time.sleep(random.uniform(RUN_MIN_S, RUN_MAX_S))
    lab.power_cut(1)
    cut_ns = time.monotonic_ns()
    arrived_ns = cut_ns + int(ARRIVED_S * 1e9)
    # Only then: whoever asks an emulated host how far it is slows it down.
    load.wait_for_all(FAILOVER_TIMEOUT_S, arrived_ns)
    failover = wait_for_failover(lab, 2, lab.guest, FAILOVER_TIMEOUT_S)
    again_s = [(at_ns - cut_ns) / 1e9 for at_ns in load.first_after(arrived_ns).values()]
    return Cut(min(again_s), max(again_s), failover)


def cut_journal(lab, journal):
    """A power cut under the journal's load. Asserts that the disk that the guest then has is right."""
    with lab.Counter(lab.GUEST_ADDRESSES[lab.guest]) as counter:
        journal.churn(CHURN_PER_S)
        cut = cut_power(lab, journal)
        report = check_disk(lab, journal, 2)
        counter.check_continuous()
    return dataclasses.replace(cut, checked=summary(report))


def cut_database(lab, commits):
    """A power cut while PostgreSQL commits. Asserts that none is lost, neither now nor after the database crashes."""
    cut = cut_power(lab, commits)
    committed = commits.check()
    check_crashed(lab, commits, 2)
    return dataclasses.replace(cut, checked=f"committed, by connection: {committed}")


def check_crashed(lab, commits, host):
    """Destroys a guest whose database commits no more, and asserts that its disk alone has all, undamaged; ends it."""
    destroy_guest(lab, host)
    lab.start_disk_guest(host=host)
    commits.check()
    for command in ("amcheck", "stop", "checksums", "unmount"):
        commits.order(command)
    destroy_guest(lab, host)
    lab.check_file_system(host)


def check_disk(lab, journal, host):
    """Asserts that disk and memory of the guest on that host agree; ends the guest. Returns the guest's report."""
    report = journal.check()
    end_guest(lab, journal, host)
    lab.check_file_system(host)
    return report


def end_guest(lab, journal, host):
    journal.unmount()
    destroy_guest(lab, host)


def destroy_guest(lab, host):
    lab.ssh(host, f"xl destroy {lab.guest}")
    lab.wait_for(lambda: lab.domains(host) == [], END_S, "the guest's end")
    lab.wait_for(lambda: not server_pids(lab, host), END_S, f"the end of {SERVER}")


def check_equal(lab, path="/dev/vdb"):
    """Asserts that both hosts' disks hold the same."""
    digests = {host: lab.disk_digest(host, path) for host in lab.machines}
    assert len(set(digests.values())) == 1, f"the disks differ: {digests}"


def server_pids(lab, host):
    return lab.ssh(host, f"pgrep -x {SERVER}", check=False).stdout.split()


def kill_server(lab, host, killed=SERVER):
    """Kills what serves the guest's disk, or what starts that; returns when there is another one, and the seconds
    until then."""
    before = server_pids(lab, host)
    assert before, f"no {SERVER} on host {host}"
    start_s = time.monotonic()
    lab.ssh(host, f"pkill -KILL -x {killed}")
    lab.wait_for(lambda: set(server_pids(lab, host)) - set(before), END_S, f"another {SERVER}")
    return time.monotonic() - start_s


def link_port(lab):
    """The port of host 2 to which the disk's server on host 1 sends what is written."""
    shown = lab.ssh(1, f"ss -Htnp dst {replication_address(2)}").stdout
    peers = [line.split()[4] for line in shown.splitlines() if SERVER in line]
    assert len(peers) == 1, f"the disk's links: {peers}"
    return peers[0].rsplit(":", 1)[1]
