"""When the link of a disk breaks, protection ends in order, and the next one brings the disk up to date."""

from disk import CHURN_PER_S, check_equal, journal_load, link_port
from journal import summary
from network import replication_address
from protection import check_nothing_left

GUEST = "disk"
ON_REQUEST = True


def run(lab):
    lab.start_disk_guest()
    with journal_load(lab) as journal:
        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            journal.churn(CHURN_PER_S)
            journal.wait_for_all(60)
            break_disk_link(lab)
            protection.end().expect(1, f"{lab.guest} runs on, unprotected")
        journal.wait_for_all(60)
        lab.wait_for(lambda: lab.domains(2) == [], 60, "the end of the copy on host 2")
        check_nothing_left(lab)
        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            print(summary(journal.check()))
            protection.stop()
        check_equal(lab)


def break_disk_link(lab):
    """Ends the TCP connection by which the disk's server on host 1 sends what is written."""
    lab.ssh(1, f"ss -K dst {replication_address(2)} dport = {link_port(lab)}")
