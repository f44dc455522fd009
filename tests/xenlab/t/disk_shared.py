"""A guest whose disk is on storage that both hosts share is refused, with the reason, and runs on."""

from disk import CALM_PER_S, journal_load
from journal import summary
from shared_folder import MOUNTED_AT

GUEST = "disk"
ON_REQUEST = True
DISK = f"{MOUNTED_AT}/disk"


def run(lab):
    with lab.shared_folder():
        lab.ssh(1, f"dd if=/dev/vdb of={DISK} bs=1M conv=sparse")
        lab.start_disk_guest(f"s,/dev/vdb,{DISK},")
        with journal_load(lab) as journal:
            journal.churn(CALM_PER_S)
            with lab.protect() as protection:
                protection.end().expect(1, "on storage that both hosts share")
            journal.wait_for_all(60)
            print(summary(journal.check()))
        assert lab.ssh(1, f"ls -A {MOUNTED_AT}").stdout.split() == ["disk"]
        lab.ssh(1, f"xl destroy {lab.guest}")
        lab.wait_for(lambda: lab.domains(1) == [], 60, "the guest's end")
