"""When the link is cut and the backup yields, the guest goes on where it was, and the copy never starts."""

from partitioned import GONE_S, cut_link

GUEST = "pvh"


def run(lab):
    with cut_link(lab, "--timeout 2000 --yield backup") as cut:
        cut.end.expect(1, "pvh runs on, unprotected")
        cut.counter.wait_for_answer(GONE_S)
        cut.counter.check_continuous()
        assert cut.counter.troubles() == [], cut.counter.troubles()
        assert lab.output_buffers(1) == []
        assert lab.domains(2) == ["pvh--incoming"], lab.domains(2)
        listed = lab.protections(2)
        assert [entry["state"] for entry in listed] == ["primary-lost"], listed
        lab.ssh(2, "pkill -TERM -x specrep-backup")
        lab.wait_for(lambda: lab.domains(2) == [], GONE_S, "the end of the copy")
