"""The lab is two real Xen 4.17 hosts that reach each other over the replication link."""

GUEST = None
ON_REQUEST = True


def run(lab):
    for host, other in ((1, 2), (2, 1)):
        info = lab.ssh(host, "xl info").stdout
        assert "4.17" in info and f"xen{host}" in info, info
        assert lab.domains(host) == []
        lab.ssh(host, f"ping -c 1 -W 5 xen{other}")
        assert lab.ssh(host, f"ssh xen{other} hostname").stdout.strip() == f"xen{other}"
        assert abs(lab.clock_offset(host)) < 1.0
