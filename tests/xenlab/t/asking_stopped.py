"""Ctrl-C while the arbiter hangs and the link is cut: the guest is held here, and the copy starts when it is granted."""

from explain import wait_for_failover
from fault import GONE_S, PARTITION_TIMEOUT_MS

GUEST = "pvh"
ASKING = "is held until the arbiter answers"


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter, lab.Observer() as observer, lab.etcd() as etcd:
        counter.wait_for_answer(60)
        with lab.protect(f"--timeout {PARTITION_TIMEOUT_MS} --arbiter {etcd.url}") as protection:
            protection.wait_until_protected()
            counter.wait_for_answer(30)
            etcd.hang()
            lab.partition()
            protection.wait_for(lambda: ASKING in protection.stderr(), GONE_S, "the primary to ask")
            lab.ssh(1, "pkill -INT -x xl-specrep")
            protection.end().expect(130, "pvh is paused and its network held")
        assert lab.domains(2) == ["pvh--incoming"]
        etcd.go_on()
        wait_for_failover(lab, 2, "pvh", GONE_S)
        counter.wait_for_answer(GONE_S)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
        observer.check_one_speaker(2)
        assert lab.output_buffers(1) != []
        lab.ssh(1, "xl destroy pvh")
