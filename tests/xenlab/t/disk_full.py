"""When there is no room for the backup's copy of a disk, protection ends and says so, and the guest notices nothing."""

from disk import CHURN_PER_S, GOING_S, check_disk, check_equal
from journal import summary
from protection import check_nothing_left

GUEST = "disk"
ON_REQUEST = True
# On host 1 a link to the guest's disk; on host 2 a sparse file in a small file system.
FOLDER = "/srv/copy"
PATH = f"{FOLDER}/disk"
FILE_SYSTEM_SIZE = "64M"
OPTIONS = "--timeout 10000"


def run(lab):
    lab.ssh(1, f"mkdir {FOLDER} && ln -s /dev/vdb {PATH}")
    lab.ssh(2, f"mkdir {FOLDER} && mount -t tmpfs -o size={FILE_SYSTEM_SIZE} tmpfs {FOLDER} && "
               f"truncate -s $(blockdev --getsize64 /dev/vdb) {PATH}")
    lab.start_disk_guest(f"s#/dev/vdb,#{PATH},#")
    with lab.Journal() as journal:
        journal.wait_for_all(GOING_S)
        with lab.protect(OPTIONS) as protection:
            protection.wait_until_protected()
            journal.wait_for_all(GOING_S)
            # Whatever is left, to the last page.
            lab.ssh(2, f"cat /dev/zero > {FOLDER}/filler", check=False)
            # Where nothing was written yet, so that the copy has holes.
            journal.churn(CHURN_PER_S)
            end = protection.end()
            print(end.stderr.strip().splitlines()[-1])
            end.expect(1, f"{lab.guest} runs on, unprotected", "No space left on device")
        journal.wait_for_all(GOING_S)
        lab.wait_for(lambda: lab.domains(2) == [], 60, "the end of the copy on host 2")
        check_nothing_left(lab)
        lab.ssh(2, f"rm {FOLDER}/filler")
        with lab.protect(OPTIONS) as protection:
            protection.wait_until_protected()
            gap_s = journal.longest_gap_s()
            report = journal.check()
            protection.stop()
        check_equal(lab, PATH)
        print(f"{summary(report)}; nothing acknowledged for {gap_s:.2f} s at most")
        check_disk(lab, journal, 1)
