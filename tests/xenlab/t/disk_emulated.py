"""A guest without PV drivers, whose disk is emulated, finds on host 2 what it has written, and nothing else."""

import random
import time

from cut import FAILOVER_TIMEOUT_S, RUN_MAX_S, RUN_MIN_S
from disk import CALM_PER_S, check_disk, journal_load
from explain import wait_for_failover
from journal import summary

GUEST = "disk"
ON_REQUEST = True
# Its firmware reads kernel and initrd byte by byte.
START_S = 600


def run(lab):
    lab.start_disk_guest(config="disk-hvm", timeout=START_S)
    with journal_load(lab) as journal:
        with lab.protect("-i 200 --timeout 1000") as protection:
            protection.wait_until_protected()
            journal.churn(2 * CALM_PER_S)
            time.sleep(random.uniform(RUN_MIN_S, RUN_MAX_S))
            lab.power_cut(1)
            cut_ns = time.monotonic_ns()
        wait_for_failover(lab, 2, lab.guest, FAILOVER_TIMEOUT_S)
        journal.wait_for_all(FAILOVER_TIMEOUT_S)
        gap_s = journal.longest_gap_s(cut_ns)
        print(f"{summary(check_disk(lab, journal, 2))}; nothing acknowledged for {gap_s:.2f} s")
