"""When specrep-primary stands still for longer than the time-out, one copy goes on: the one whose side does not yield."""

from explain import wait_for_failover
from protection import check_unprotected

GUEST = "pvh"
ON_REQUEST = True
FROZEN_S = 4
FREEZE = f"pkill -STOP -x specrep-primary; sleep {FROZEN_S}; pkill -CONT -x specrep-primary"


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 1000 --yield backup") as protection:
            protection.wait_until_protected()
            lab.ssh(1, FREEZE)
            protection.end().expect(1, "pvh runs on, unprotected")
        check_unprotected(lab, counter)
        with lab.protect("--timeout 1000 --yield primary") as protection:
            protection.wait_until_protected()
            lab.ssh(1, FREEZE)
            protection.end().expect(1, "pvh runs on xen2 now; the copy here was ended")
        wait_for_failover(lab, 2, "pvh", 60)
        counter.wait_for_answer(60)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
        assert lab.domains(1) == [] and lab.domains(2) == ["pvh"]
        assert lab.output_buffers(1) == []
