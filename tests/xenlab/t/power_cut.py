"""When host 1's power is cut, the guest goes on on host 2 with all that anybody has seen of it."""

from cut import CONNECTION_MAX_S, cut_power

GUEST = ("pvh", "hvm")
# By dom0; a guest with PV drivers also announces itself.
ANNOUNCED = {"rarp", "gratuitous-arp", "unsolicited-advertisement"}


def run(lab):
    result = cut_power(lab, "-i 200 --timeout 1000")
    result.check()
    failover = result.failover
    assert lab.domains(2) == [lab.guest]
    assert failover["guest"] == lab.guest, failover
    assert str(failover["domid"]) == lab.ssh(2, f"xl domid {lab.guest}").stdout.strip(), failover
    assert "nothing heard from the primary" in failover["reason"], failover
    assert failover["silence_ms"] >= 1000, failover
    assert ANNOUNCED <= set(result.frames), result.frames
    assert result.answer_s < CONNECTION_MAX_S, result
    lab.wait_for(lambda: lab.protections(2) == [], 30, "the end of the entry on host 2")
    # It was given another one to be activated with.
    assert '"script": "/etc/xen/scripts/vif-bridge"' in lab.ssh(2, f"xl list -l {lab.guest}").stdout
    # Its device model was started by specrep-backup, and has to hear libxl's signal.
    lab.ssh(2, f"xl destroy {lab.guest}")
    lab.wait_for(lambda: lab.domains(2) == [], 30, "the guest's end")
    print(result)
