"""When xl remus-spec itself is killed, specrep-primary stops in order: the guest counts on, the copy goes."""

from protection import check_unprotected

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 3000") as protection:
            protection.wait_until_protected()
            lab.ssh(1, "pkill -KILL -x xl-specrep")
            check_unprotected(lab, counter)
        log = lab.ssh(2, "cat /var/log/specrep/pvh.log").stdout
        assert "discarded the copy of guest pvh" in log and "activating" not in log, log
