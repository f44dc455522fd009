"""When host 1's power is cut, the guest finds on host 2's disk all that it has written, and nothing else."""

import random
import time

from cut import FAILOVER_TIMEOUT_S, RUN_MAX_S, RUN_MIN_S
from disk import CHURN_PER_S, check_disk, journal_load
from explain import wait_for_failover
from journal import summary

GUEST = "disk"


def run(lab):
    lab.start_disk_guest()
    with journal_load(lab) as journal, lab.Counter(lab.GUEST_ADDRESSES[lab.guest]) as counter:
        with lab.protect("-i 200 --timeout 1000") as protection:
            protection.wait_until_protected()
            journal.churn(CHURN_PER_S)
            time.sleep(random.uniform(RUN_MIN_S, RUN_MAX_S))
            lab.power_cut(1)
            cut_ns = time.monotonic_ns()
        wait_for_failover(lab, 2, lab.guest, FAILOVER_TIMEOUT_S)
        journal.wait_for_all(FAILOVER_TIMEOUT_S)
        gap_s = journal.longest_gap_s(cut_ns)
        report = check_disk(lab, journal, 2)
        counter.check_continuous()
    print(f"{summary(report)}; nothing acknowledged for {gap_s:.2f} s")
