"""A protected guest goes on, and stays protected, through a bad link, a clock that jumps, a full /run and halted processes."""

import contextlib
import time

from explain import wait_for_failover
from network import HOSTS
from protection import protected_under_load

GUEST = "pvh"
ON_REQUEST = True
OPTIONS = "-i 500 --timeout 15000"
LAST_S = 4  # how long each trouble lasts
EPOCHS = 3  # that have to be committed while it lasts, where it lets them, and after it
COMMIT_MAX_S = 120
DIRTY_PAGES_PER_S = 100
REPLICATION_CARD = "eth1"


@contextlib.contextmanager
def halted(lab, host, process):
    lab.ssh(host, f"pkill -STOP {process}")
    yield
    lab.ssh(host, f"pkill -CONT {process}")


@contextlib.contextmanager
def bad_link(lab, _, what):
    for host in HOSTS:
        lab.ssh(host, f"tc qdisc add dev {REPLICATION_CARD} root netem {what}")
    yield
    for host in HOSTS:
        lab.ssh(host, f"tc qdisc del dev {REPLICATION_CARD} root")


@contextlib.contextmanager
def clock_step(lab, host, seconds):
    lab.ssh(host, f"date -s @$(($(date +%s) + {seconds}))")
    yield
    lab.ssh(host, f"date -s @$(($(date +%s) - {seconds}))")


@contextlib.contextmanager
def full_folder(lab, host, folder):
    lab.ssh(host, f"dd if=/dev/zero of={folder}/filling bs=64k 2>/dev/null", check=False)
    assert lab.ssh(host, f"df --output=avail {folder} | tail -n 1").stdout.strip() == "0"
    yield
    lab.ssh(host, f"rm {folder}/filling")


@contextlib.contextmanager
def busy(lab, host, command):
    lab.ssh(host, f"for i in 1 2 3; do setsid -f timeout 60 sh -c 'while :; do {command}; done' >/dev/null 2>&1; done")
    yield
    lab.ssh(host, "pkill -f '[w]hile :; do'", check=False)


# What happens, where, and whether epochs go on meanwhile.
TROUBLES = (
    ("10 Mbit/s", bad_link, None, "rate 10mbit", True),
    ("5 % of the packets lost", bad_link, None, "loss 5%", True),
    ("a quarter of the packets late, past others", bad_link, None, "delay 20ms reorder 75%", True),
    ("host 1's clock an hour ahead", clock_step, 1, 3600, True),
    ("host 2's clock an hour behind", clock_step, 2, -3600, True),
    ("host 1's /run is full", full_folder, 1, "/run", True),
    ("host 2's /run is full", full_folder, 2, "/run", True),
    ("host 1's xenstored is busy", busy, 1, "xenstore-ls >/dev/null", False),
    ("host 2's xenstored is busy", busy, 2, "xenstore-ls >/dev/null", False),
    ("specrep-primary is halted", halted, 1, "-x specrep-primary", False),
    ("xl remus-spec is halted", halted, 1, "-x xl-specrep", True),
    ("ssh is halted", halted, 1, "-x ssh", True),
    ("specrep-backup is halted", halted, 2, "-x specrep-backup", False),
    ("libxl's helper is halted", halted, 2, "libxl-save-help", False),
)


def run(lab):
    with protected_under_load(lab, OPTIONS, DIRTY_PAGES_PER_S) as (counter, protection):
        def wait_for_epochs():
            protection.wait_for_commit(protection.status()["committed_epoch"] + EPOCHS, COMMIT_MAX_S)

        wait_for_epochs()
        for what, trouble, host, parameter, goes_on in TROUBLES:
            start_ns = time.monotonic_ns()
            with trouble(lab, host, parameter):
                time.sleep(LAST_S)
                if goes_on:
                    wait_for_epochs()
            wait_for_epochs()
            counter.wait_for_answer(COMMIT_MAX_S)
            counter.check_continuous()
            assert counter.troubles() == [], (what, counter.troubles())
            assert protection.events("ended") == [], (what, protection.events("ended"))
            print(f"{what}: no answer for {counter.longest_gap_s(start_ns):.1f} s")
        # And it is still what it should be.
        lab.power_cut(1)
        wait_for_failover(lab, 2, GUEST, 120)
        counter.wait_for_answer(120)
        counter.check_continuous()
        assert lab.domains(2) == [GUEST], lab.domains(2)
