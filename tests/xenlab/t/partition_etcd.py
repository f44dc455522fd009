"""When the link is cut, etcd lets one copy go on, and the other ends itself; clients see one guest."""

from fault import partition_with_arbiter

GUEST = ("pvh", "hvm")
ON_REQUEST = ("hvm",)


def run(lab):
    with lab.etcd() as etcd:
        print(partition_with_arbiter(lab, f"--arbiter {etcd.url}"))
