"""Without replication of its disk (-d) a power cut loses what the guest has written: the checks can fail."""

import time

from cut import FAILOVER_TIMEOUT_S
from disk import CHURN_PER_S, journal_load
from explain import wait_for_failover
from journal import judge

GUEST = "disk"
ON_REQUEST = True


def run(lab):
    lab.start_disk_guest("s/,script=block-specrep//")
    with journal_load(lab) as journal:
        with lab.protect("-F -d -i 200 --timeout 1000") as protection:
            protection.wait_until_protected()
            journal.churn(CHURN_PER_S)
            time.sleep(3)
            lab.power_cut(1)
        wait_for_failover(lab, 2, lab.guest, FAILOVER_TIMEOUT_S)
        failures = judge(journal.acknowledged(), journal.settle())
    assert any("acknowledged blocks of flushed are not on the disk" in text for text in failures), failures
    assert any("churn" in text and text.endswith("lost") for text in failures), failures
    print(f"caught: {failures[0]}; in all {len(failures)} failures")
