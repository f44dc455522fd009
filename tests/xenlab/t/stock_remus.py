"""Stock Remus makes checkpoints here, and when its stream ends, the guest goes on on host 2."""

GUEST = "pvh"
ON_REQUEST = True
CHECKPOINTS_MIN = 5
# The first copy of the guest's memory goes through ssh at about 5 MB/s.
CHECKPOINTS_TIMEOUT_S = 300
FAILOVER_TIMEOUT_S = 90


def checkpoints(lab):
    return int(lab.ssh(1, "grep -c 'guest has suspended' /root/remus.log", check=False).stdout or 0)


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"], interval_ms=500) as counter:
        counter.wait_for_answer(60)
        remus = lab.ssh_start(1, "xl -vvv remus -Fnd -i 500 pvh xen2 >/root/remus.log 2>&1")
        lab.wait_for(lambda: checkpoints(lab) >= CHECKPOINTS_MIN, CHECKPOINTS_TIMEOUT_S, "Remus's checkpoints")
        assert lab.domains(2) == ["pvh--incoming"]
        assert remus.poll() is None, "xl remus has ended"

        # Stock Remus notices only a closed stream, and then the guest would run on both
        # hosts: close the stream, and cut the power before host 1's guest does anything.
        lab.ssh(1, "pkill -f '^ssh xen2 '")
        lab.power_cut(1)
        lab.wait_for(lambda: lab.domains(2) == ["pvh"], FAILOVER_TIMEOUT_S, "the guest on host 2")
        counter.reconnect()
        counter.wait_for_answer(FAILOVER_TIMEOUT_S)
        remus.wait()
