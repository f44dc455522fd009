"""A partition stops the replication link alone, the hosts' carrier stays, and heal restores it."""

GUEST = None
ON_REQUEST = True


def replicates(lab):
    return lab.ssh(1, "ping -c 1 -W 2 xen2 >/dev/null", check=False).returncode == 0


def run(lab):
    assert replicates(lab)
    lab.partition()
    assert not replicates(lab)
    for host in (1, 2):
        assert lab.ssh(host, "cat /sys/class/net/eth1/carrier").stdout.strip() == "1"
    lab.ssh(1, "ping -c 1 -W 5 192.168.88.2")
    lab.heal()
    lab.wait_for(lambda: replicates(lab), 30, "the replication link")
