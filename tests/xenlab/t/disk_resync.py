"""specrep-disk resync brings the other host's copy up to date while the guest runs, and says no to what it cannot."""

from disk import CHURN_PER_S, check_disk, check_equal, journal_load
from journal import summary

GUEST = "disk"
ON_REQUEST = True
DISK = "/dev/vdb"
RESYNC_S = 120


def resync(lab, words=""):
    return lab.ssh(1, f"specrep-disk resync {DISK} xen2 {words} 2>&1", timeout=RESYNC_S, check=False)


def marked_bytes(lab):
    (status,) = lab.disk_status(1)
    return status["marked_bytes"]


def run(lab):
    refused = resync(lab)
    assert refused.returncode == 1 and "script=block-specrep" in refused.stdout, refused
    lab.start_disk_guest()
    with journal_load(lab) as journal:
        journal.churn(CHURN_PER_S)
        journal.wait_for_all(60)
        for words in ("", "--rate 1000"):
            done = resync(lab, words)
            assert done.returncode == 0 and "is the same on xen2" in done.stdout, done
        (copy,) = lab.disk_status(2)
        assert copy["role"] == "copy" and not copy["open"], copy
        journal.settle()
        before = marked_bytes(lab)
        assert resync(lab).returncode == 0
        assert marked_bytes(lab) == 0 < before, f"{before} bytes were marked, and {marked_bytes(lab)} are"
        check_equal(lab)
        print(f"{before >> 20} MiB marked at last; {summary(check_disk(lab, journal, 1))}")
