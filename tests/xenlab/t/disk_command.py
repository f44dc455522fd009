"""specrep-disk: shows a disk, serves it to dom0, promotes a copy, and settles which of two copies goes."""

from disk import check_disk, check_equal, journal_load
from journal import summary

GUEST = "disk"
ON_REQUEST = True
DISK = "/dev/vdb"


def disk_command(lab, host, words):
    """Runs it on the disk; returns what it prints."""
    return lab.ssh(host, f"specrep-disk {words} {DISK}", timeout=60).stdout


def refused(lab, host, words, *why):
    """Asserts that it does nothing, and says why."""
    result = lab.ssh(host, f"specrep-disk {words} {DISK} 2>&1", timeout=60, check=False)
    assert result.returncode == 1, result
    for word in why:
        assert word in result.stdout, f"{word!r} is not in: {result.stdout}"


def check_status(lab, host, **expected):
    """Asserts what is said of the disk, which is the only one."""
    (status,) = lab.disk_status(host)
    differ = {key: status.get(key) for key, value in expected.items() if status.get(key) != value}
    assert status["path"] == DISK and not differ, f"expected {expected}: {status}"
    return status


def protect_once(lab, before_stop=lambda: None):
    with lab.protect("--timeout 5000") as protection:
        protection.wait_until_protected()
        check_status(lab, 1, role="own", served=True, followed=True, in_sync=True, bytes_to_send=0)
        refused(lab, 2, "promote", "in use")
        before_stop()
        protection.stop()


def run(lab):
    lab.start_disk_guest()
    with journal_load(lab) as journal:
        refused(lab, 1, "detach", "in use by domain")
        protect_once(lab)
        check_status(lab, 1, role="own", followed=False)
        check_status(lab, 2, role="copy", served=False, open=False)
        refused(lab, 2, "attach", f"specrep-disk promote {DISK}")
        print(lab.ssh(1, "specrep-disk status").stdout)

        # Somebody thinks that host 1 is gone.
        disk_command(lab, 2, "promote")
        device = disk_command(lab, 2, "attach").strip()
        lab.ssh(2, f"dd if=/dev/urandom of={device} bs=1M count=1 seek=9 oflag=direct status=none")
        print(lab.ssh(2, "specrep-disk status").stdout)
        check_status(lab, 2, role="own", served=True, device=device)
        disk_command(lab, 2, "detach")
        check_status(lab, 2, role="own", served=False)
        with lab.protect("--timeout 5000") as protection:
            protection.end(180).expect(1, f"specrep-disk discard --force {DISK}")
        refused(lab, 2, "discard", "--force")
        disk_command(lab, 2, "discard --force")
        # The copies stay alike while the guest writes no more.
        protect_once(lab, journal.settle)
        check_equal(lab)
        print(summary(check_disk(lab, journal, 1)))
