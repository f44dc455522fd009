"""When ssh to the backup is lost, protection ends in order over the data link: without ssh a later death could not be told."""

from protection import check_unprotected

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            lab.ssh(1, "pkill -KILL -x ssh")
            protection.end().expect(1, "the control connection to xen2 was lost", "pvh runs on, unprotected")
        check_unprotected(lab, counter)
