"""With an arbiter a planned switchover takes the fencing generation along, so that the guest can be moved back."""

from switchover import switch_over

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    with lab.etcd() as etcd:
        options = f"--timeout 3000 --arbiter {etcd.url}"
        for host in (1, 2):
            moved = switch_over(lab, host, options)
            assert moved.lost == [], moved
            print(moved)
