"""When host 1's power is cut in the second epoch, host 2's disk has nothing of that, though the first was just committed."""

from cut import FAILOVER_TIMEOUT_S
from disk import CHURN_PER_S, check_disk, journal_load
from explain import wait_for_failover
from journal import summary

GUEST = "disk"
ON_REQUEST = True


def run(lab):
    lab.start_disk_guest()
    with journal_load(lab) as journal:
        # Much is written between the end of the first epoch and its commit.
        journal.churn(CHURN_PER_S)
        with lab.protect("-i 10000 --timeout 1000") as protection:
            protection.wait_until_protected()
            lab.power_cut(1)
        failover = wait_for_failover(lab, 2, lab.guest, FAILOVER_TIMEOUT_S)
        assert failover["epoch"] == 1, failover
        journal.wait_for_all(FAILOVER_TIMEOUT_S)
        print(f"{summary(check_disk(lab, journal, 2))}; {failover['dropped_disk_writes']} writes dropped")
