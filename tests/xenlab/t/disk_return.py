"""After a failover host 1 comes back: it is brought up to date, and takes the guest over when host 2's power is cut."""

import time

from cut import FAILOVER_TIMEOUT_S
from disk import CHURN_PER_S, check_disk, check_equal, journal_load
from explain import wait_for_failover
from journal import summary

GUEST = "disk"
ON_REQUEST = True
RUN_S = 4
OPTIONS = "-i 200 --timeout 3000"


def run(lab):
    lab.start_disk_guest()
    # What was installed must outlive the power cut.
    for host in lab.machines:
        lab.ssh(host, "sync")
    with journal_load(lab) as journal:
        with lab.protect(OPTIONS) as protection:
            protection.wait_until_protected()
            journal.churn(CHURN_PER_S)
            time.sleep(RUN_S)
            lab.power_cut(1)
        wait_for_failover(lab, 2, lab.guest, FAILOVER_TIMEOUT_S)
        journal.wait_for_all(FAILOVER_TIMEOUT_S)
        lab.power_on(1)
        with lab.protect(OPTIONS, host=2) as protection:
            protection.wait_until_protected()
            journal.churn(CHURN_PER_S)
            time.sleep(RUN_S)
            print(summary(journal.check()))
            protection.stop()
        # What host 1 had written and never committed is gone from its disk, too.
        check_equal(lab)
    with journal_load(lab) as journal:
        with lab.protect(OPTIONS, host=2) as protection:
            protection.wait_until_protected()
            journal.churn(CHURN_PER_S)
            time.sleep(RUN_S)
            lab.power_cut(2)
        wait_for_failover(lab, 1, lab.guest, FAILOVER_TIMEOUT_S)
        journal.wait_for_all(FAILOVER_TIMEOUT_S)
        print(summary(check_disk(lab, journal, 1)))
