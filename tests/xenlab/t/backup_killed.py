"""When specrep-backup is killed, the primary says so, the guest counts on, and the half-made copy goes."""

from protection import check_unprotected

GUEST = "pvh"


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 3000") as protection:
            protection.wait_until_protected()
            lab.ssh(2, "pkill -KILL -x specrep-backup")
            end = protection.end()
        end.expect(1, "the link to the backup closed", "pvh runs on, unprotected")
        assert "held" not in end.stderr, end.stderr
        check_unprotected(lab, counter)
        lab.ssh(1, "xl remus-spec-check pvh xen2")
