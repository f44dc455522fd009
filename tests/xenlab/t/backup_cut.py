"""When the backup's host loses its power, the guest goes on with what etcd grants; its connection too."""

from fault import backup_cut

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    with lab.etcd() as etcd:
        print(backup_cut(lab, f"--arbiter {etcd.url}"))
