"""When specrep-backup is stopped or killed, the primary says so, the guest counts on, and the half-made copy goes."""

from fault import backup_killed

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    print(backup_killed(lab, signal="TERM", said=["specrep-backup was told to stop"]))
    print(backup_killed(lab))
    lab.ssh(1, "xl remus-spec-check pvh xen2")
