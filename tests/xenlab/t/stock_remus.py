"""Stock Remus makes checkpoints here, and when its stream ends, the guest goes on on host 2."""

import time

GUEST = "pvh"
CHECKPOINTS_S = 15
FAILOVER_TIMEOUT_S = 60


def run(lab):
    address = lab.GUEST_ADDRESSES["pvh"]
    with lab.Counter(address) as counter:
        counter.wait_for_answer(60)
        remus = lab.ssh_start(1, "xl remus -Fnd -i 500 pvh xen2")
        lab.wait_for(lambda: "pvh--incoming" in lab.ssh(2, "xl list").stdout, 60, "the backup's domain")
        time.sleep(CHECKPOINTS_S)
        assert remus.poll() is None, f"xl remus ended: {remus.communicate()}"
        # Stock Remus notices only a closed stream, and then the guest would run on both
        # hosts: close the stream, and cut the power before host 1's guest does anything.
        lab.ssh(1, "pkill -f '^ssh xen2 '")
        lab.power_cut(1)
        lab.wait_for(lambda: lab.domains(2) == ["pvh"], FAILOVER_TIMEOUT_S, "the guest on host 2")
        counter.reconnect()
        counter.wait_for_answer(FAILOVER_TIMEOUT_S)
        remus.wait()
