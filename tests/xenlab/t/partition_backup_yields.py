"""When the link is cut and the backup yields, the guest goes on where it was, and the copy never starts."""

from fault import partition_backup_yields

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    print(partition_backup_yields(lab))
