"""A guest with a replicated disk is moved to the other host and back: only what changed is sent, and the disks agree."""

import time

from disk import CHURN_PER_S, check_disk, check_equal, journal_load
from journal import summary
from switchover import switch_over

GUEST = "disk"
ON_REQUEST = True
OPTIONS = "-i 200 --timeout 3000"
# Of the disk's 128 MiB.
CHANGED_MIB_MAX = 64
RUN_S = 2


def run(lab):
    lab.start_disk_guest()
    with journal_load(lab) as journal:
        journal.churn(CHURN_PER_S)
        for host in (1, 2):
            moved = switch_over(lab, host, OPTIONS)
            journal.wait_for_all(60)
            print(moved)
            assert moved.lost == [], moved
            assert host == 1 or moved.disk_bytes < CHANGED_MIB_MAX << 20, moved
        with lab.protect(OPTIONS) as protection:
            protection.wait_until_protected()
            time.sleep(RUN_S)
            print(summary(journal.check()))
            protection.stop()
        check_equal(lab)
        print(summary(check_disk(lab, journal, 1)))
