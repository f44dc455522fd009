"""Without replication of its disk (-d) a power cut loses what PostgreSQL has committed: the checks can fail."""

from client import NoAnswer
from disk import CUT_OPTIONS, cut_power, database_load, protected

GUEST = "database"
ON_REQUEST = True
UNREPLICATED = "s/w,script=block-specrep/w/"


def run(lab):
    lab.start_disk_guest(UNREPLICATED)
    with database_load(lab) as commits, protected(lab, f"-F -d {CUT_OPTIONS}"):
        cut = cut_power(lab, commits)
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
