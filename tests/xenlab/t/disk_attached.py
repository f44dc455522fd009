"""A disk that a guest gets while it is protected is not replicated, and a warning says so."""

GUEST = "pvh"
ON_REQUEST = True
NOTICED_S = 60


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES[GUEST]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            lab.ssh(1, f"truncate -s 8M /root/more && xl block-attach {GUEST} "
                       "format=raw,vdev=xvdb,access=rw,target=$(losetup --find --show /root/more)")
            protection.wait_for(lambda: protection.events("warning"), NOTICED_S, "the warning")
            counter.wait_for_answer(30)
            lab.ssh(1, f"xl remus-spec-stop {GUEST}")
            protection.end().expect(0)
        (warning,) = protection.events("warning")
        assert f"the disk xvdb of {GUEST} was attached while it is protected" in warning["what"], warning
        assert f"remus-spec-stop {GUEST}" in warning["advice"], warning
        counter.wait_for_answer(60)
        counter.check_continuous()
        # Protected again, it would be lost, and so is refused.
        with lab.protect("--timeout 5000") as protection:
            protection.end().expect(1, "xvdb")
