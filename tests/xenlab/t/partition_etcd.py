"""When the link is cut, etcd lets one copy go on, and the other ends itself; clients see one guest."""

from partitioned import GONE_S, cut_link

GUEST = ("pvh", "hvm")


def run(lab):
    with lab.etcd() as etcd, cut_link(lab, f"--timeout 2000 --arbiter {etcd.url}") as cut:
        lab.wait_for(lambda: len(lab.domains(1) + lab.domains(2)) == 1, GONE_S, "the end of one copy")
        here = lab.domains(1) == [lab.guest]
        if here:
            cut.end.expect(1, f"{lab.guest} runs on, unprotected")
        else:
            cut.end.expect(1, f"{lab.guest} runs on xen2 now")
            assert lab.domains(2) == [lab.guest]
        cut.counter.wait_for_answer(GONE_S)
        cut.counter.check_continuous()
        assert cut.counter.troubles() == [], cut.counter.troubles()
        for host in (1, 2):
            assert lab.output_buffers(host) == [] or lab.domains(host) == [], host
    print(f"goes on on host {1 if here else 2}")
