"""When host 1's power is cut, the guest finds on host 2's disk all that it has written, and nothing else."""

from disk import cut_journal, journal_load, protected

GUEST = "disk"


def run(lab):
    lab.start_disk_guest()
    with journal_load(lab) as journal, protected(lab):
        print(cut_journal(lab, journal))
