"""A switchover that the other host cannot do leaves the guest where it is: nothing is lost, and it says so."""

from protection import check_unprotected
from switchover import failover_command

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 30000") as protection:
            protection.wait_until_protected()
            # No commit comes: it runs on, protected.
            lab.ssh(2, "pkill -STOP -x specrep-backup")
            refused = failover_command(lab, 1)
            lab.ssh(2, "pkill -CONT -x specrep-backup")
            assert refused.returncode == 1 and "pvh runs on here, protected" in refused.stderr, refused
            counter.wait_for_answer(60)
            # Its copy cannot be completed: it runs on, and the copy goes.
            lab.ssh(2, "ip link del xenbr0")
            refused = failover_command(lab, 1)
            assert refused.returncode == 1 and "pvh runs on here, unprotected" in refused.stderr, refused
            protection.end().expect(1, "did not take the guest over", "pvh runs on, unprotected")
        check_unprotected(lab, counter)
