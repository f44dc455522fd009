"""A guest without PV drivers, whose disk is emulated, finds on host 2 what it has written, and nothing else."""

from disk import CALM_PER_S, check_disk, cut_power, journal_load, protected
from journal import summary

GUEST = "disk"
ON_REQUEST = True
# Its firmware reads kernel and initrd byte by byte.
START_S = 600


def run(lab):
    lab.start_disk_guest(config="disk-hvm", timeout=START_S)
    with journal_load(lab) as journal, protected(lab):
        journal.churn(2 * CALM_PER_S)
        cut = cut_power(lab, journal)
        print(f"{summary(check_disk(lab, journal, 2))}; {cut}")
