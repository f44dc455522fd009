"""What the tests of replicated disks share: the guest under the journal's load, and what must be true in the end."""

import contextlib
import time

# A host has little to give: this much while protection starts, and that much under test.
CALM_PER_S, CHURN_PER_S = 5, 40
GOING_S = 120
END_S = 120
SERVER = "nbdkit"


@contextlib.contextmanager
def journal_load(lab):
    """The journal's client, while the guest writes to its disk for it and by itself, for now not much."""
    with lab.Journal() as journal:
        journal.wait_for_all(GOING_S)
        journal.churn(CALM_PER_S)
        yield journal


def check_disk(lab, journal, host):
    """Asserts that disk and memory of the guest on that host agree; ends the guest. Returns the guest's report."""
    report = journal.check()
    end_guest(lab, journal, host)
    lab.check_file_system(host)
    return report


def end_guest(lab, journal, host):
    journal.unmount()
    lab.ssh(host, f"xl destroy {lab.guest}")
    lab.wait_for(lambda: lab.domains(host) == [], END_S, "the guest's end")
    lab.wait_for(lambda: not server_pids(lab, host), END_S, f"the end of {SERVER}")


def check_equal(lab):
    """Asserts that both hosts' disks hold the same."""
    digests = {host: lab.disk_digest(host) for host in lab.machines}
    assert len(set(digests.values())) == 1, f"the disks differ: {digests}"


def server_pids(lab, host):
    return lab.ssh(host, f"pgrep -x {SERVER}", check=False).stdout.split()


def kill_server(lab, host):
    """Kills what serves the guest's disk; returns when there is another one, and the seconds until then."""
    before = server_pids(lab, host)
    assert before, f"no {SERVER} on host {host}"
    start_s = time.monotonic()
    lab.ssh(host, f"pkill -KILL -x {SERVER}")
    lab.wait_for(lambda: set(server_pids(lab, host)) - set(before), END_S, f"another {SERVER}")
    return time.monotonic() - start_s
