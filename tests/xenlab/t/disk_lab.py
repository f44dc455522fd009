"""A guest writes to its disk through the server of replicated disks, and finds all of it there."""

import time

from disk import check_disk, check_equal, journal_load
from journal import summary

GUEST = "disk"
ON_REQUEST = True


def run(lab):
    check_equal(lab)
    lab.start_disk_guest()
    with journal_load(lab) as journal:
        time.sleep(5)
        journal.wait_for_all(60)
        print(summary(check_disk(lab, journal, 1)))
