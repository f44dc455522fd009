"""Protection that is stopped leaves both hosts' disks the same, again after the guest went on unprotected."""

import time

from disk import CHURN_PER_S, check_disk, check_equal, journal_load
from journal import summary
from protection import check_nothing_left

GUEST = "disk"
ON_REQUEST = True
WRITE_S = 4


def run(lab):
    lab.start_disk_guest()
    for _ in range(2):
        with journal_load(lab) as journal:
            with lab.protect("--timeout 5000") as protection:
                protection.wait_until_protected()
                journal.churn(CHURN_PER_S)
                time.sleep(WRITE_S)
                print(summary(journal.check()))
                stop = lab.ssh(1, f"xl remus-spec-stop {lab.guest}", timeout=120)
                assert stop.stdout == f"{lab.guest} runs on, unprotected\n", stop.stdout
                protection.end().expect(0)
            check_nothing_left(lab)
            check_equal(lab)
        # The next protection must find out what was written meanwhile.
        with journal_load(lab) as journal:
            time.sleep(WRITE_S)
            journal.check()
    check_disk(lab, journal, 1)
