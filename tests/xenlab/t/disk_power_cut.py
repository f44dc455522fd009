"""When host 1's power is cut, the guest finds on host 2's disk all that it has written, and nothing else."""

from disk import cut_journal

GUEST = "disk"


def run(lab):
    print(cut_journal(lab))
