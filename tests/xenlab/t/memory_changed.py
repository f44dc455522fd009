"""A guest's memory is lowered and put back while it is protected, and it survives; when it is raised, protection ends, and says so."""

from explain import wait_for_failover
from protection import check_unprotected

GUEST = "pvh"
ON_REQUEST = True
OPTIONS = "-i 200 --timeout 3000"
MIB, LESS_MIB, MORE_MIB = 160, 130, 200  # it has the first
EPOCHS = 15
END_MAX_S = 30
DIRTY_PAGES_PER_S = 200


def memory_mib(lab):
    return int(lab.ssh(1, f"xl list {GUEST} | tail -n 1").stdout.split()[2])


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES[GUEST]) as counter:
        counter.wait_for_answer(60)
        counter.dirty(DIRTY_PAGES_PER_S)
        with lab.protect(OPTIONS) as protection:
            protection.wait_until_protected()
            lab.ssh(1, f"xl mem-max {GUEST} {MORE_MIB}")
            protection.end(END_MAX_S).expect(1, f"the memory of guest {GUEST} was raised while it was protected")
        check_unprotected(lab, counter)

        lab.ssh(1, f"xl mem-max {GUEST} {MIB}")
        with lab.protect(OPTIONS) as protection:
            protection.wait_until_protected()
            for mib in (LESS_MIB, MIB):
                lab.ssh(1, f"xl mem-set {GUEST} {mib}")
                lab.wait_for(lambda: memory_mib(lab) == mib, 60, f"{mib} MiB")
                protection.wait_for_commit(protection.status()["committed_epoch"] + EPOCHS)
            lab.power_cut(1)
            wait_for_failover(lab, 2, GUEST, 120)
        counter.wait_for_answer(60)
        counter.check_continuous()
        assert lab.domains(2) == [GUEST], lab.domains(2)
