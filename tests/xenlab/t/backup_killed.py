"""When specrep-backup is stopped or killed, the primary says so, the guest counts on, and the half-made copy goes."""

from protection import check_unprotected

GUEST = "pvh"
SAID = {"TERM": "specrep-backup was told to stop", "KILL": "the link to the backup closed"}


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        for signal, said in SAID.items():
            with lab.protect("--timeout 3000") as protection:
                protection.wait_until_protected()
                lab.ssh(2, f"pkill -{signal} -x specrep-backup")
                end = protection.end()
            end.expect(1, said, "pvh runs on, unprotected")
            assert "held" not in end.stderr, end.stderr
            check_unprotected(lab, counter)
        lab.ssh(1, "xl remus-spec-check pvh xen2")
