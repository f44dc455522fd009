"""Without replication of its disk (-d) a power cut loses what PostgreSQL has committed: the checks can fail."""

from client import NoAnswer
from disk import CUT_OPTIONS, GOING_S, cut_power

GUEST = "database"
ON_REQUEST = True
UNREPLICATED = "s/w,script=block-specrep/w/"


def run(lab):
    lab.start_disk_guest(UNREPLICATED)
    with lab.Commits() as commits:
        commits.wait_for_all(GOING_S)
        cut = cut_power(lab, commits, options=f"-F -d {CUT_OPTIONS}")
        commits.stop()
        # Its memory may still hide what the disk lacks.
        lab.ssh(2, f"xl destroy {lab.guest}")
        try:
            lab.start_disk_guest(UNREPLICATED, host=2)
            failures = commits.failures()
        except NoAnswer:
            failures = ["the database does not start from its disk"]
    assert failures, cut
    print(f"caught: {failures[0]}; in all {len(failures)} failures")
