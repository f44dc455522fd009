"""When the replication link is cut, the primary gives up within its time-out and the backup activates.

Both copies run then, with the same addresses on the same network: without an arbiter the backup
cannot tell a cut link from a dead host. The arbiter of the output commit issue will end that.
"""

import json

GUEST = "pvh"
TIMEOUT_MS = 3000
# What comes on top of the time-out: the engine's own reaction, ssh's grace and the report.
END_MAX_S = 45


def run(lab):
    address = lab.GUEST_ADDRESSES["pvh"]
    with lab.protect(f"--timeout {TIMEOUT_MS}") as protection:
        protection.wait_until_protected()
        before = int(lab.ask(address, "next"))
        lab.partition()
        end = protection.end(END_MAX_S)
    end.expect(1, "pvh runs on, unprotected")
    assert "destroy one of the two" in end.stderr, end.stderr
    assert lab.protections(1) == []

    lab.wait_for(lambda: lab.domains(2) == ["pvh"], 90, "the copy on host 2")
    failover = json.loads(lab.ssh(2, "cat /var/log/specrep/pvh.failover.json").stdout)
    assert failover["silence_ms"] >= TIMEOUT_MS, failover

    # Both are alive: with one destroyed, the other answers alone.
    assert lab.domains(1) == ["pvh"]
    lab.ssh(2, "xl destroy pvh")
    assert int(lab.ask(address, "next", 60)) > before
    print(f"the primary gave up after {end.seconds:.1f} s; {end.stderr.splitlines()[-2:]}")
