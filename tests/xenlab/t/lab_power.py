"""A host whose power is cut is silent at once, and boots again from its own disk."""

GUEST = None
ON_REQUEST = True


def run(lab):
    lab.ssh(2, "echo kept > /root/mark && sync")
    lab.power_cut(2)
    assert not lab.is_running(2)
    assert lab.ssh(1, "ping -c 1 -W 2 xen2", check=False).returncode != 0
    lab.power_on(2)
    assert lab.ssh(2, "cat /root/mark").stdout.strip() == "kept"
    lab.ssh(1, "ping -c 1 -W 5 xen2")
