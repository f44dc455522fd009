"""A network card that a guest gets while it is protected is not held back, and a warning says so."""

GUEST = "pvh"
ON_REQUEST = True
NOTICED_S = 60


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            lab.ssh(1, "xl network-attach pvh bridge=xenbr0")
            protection.wait_for(lambda: protection.events("warning"), NOTICED_S, "the warning")
            counter.wait_for_answer(30)
            lab.ssh(1, "xl remus-spec-stop pvh")
            protection.end().expect(0)
        (warning,) = protection.events("warning")
        assert ".1 of pvh was attached while it is protected" in warning["what"], warning
        assert "remus-spec-stop pvh" in warning["advice"], warning
        counter.wait_for_answer(60)
        counter.check_continuous()
        assert lab.output_buffers(1) == []
        # Protected again, it is held as the first one is.
        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            assert len(lab.output_buffers(1)) == 4, lab.output_buffers(1)
            lab.ssh(1, "xl remus-spec-stop pvh")
            protection.end().expect(0)
        assert protection.events("warning") == []
