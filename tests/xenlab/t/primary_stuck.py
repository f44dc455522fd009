"""A specrep-primary that does not end when it should is killed after 30 s; one that its guardian leaves alone holds the output."""

from protection import SETTLE_TIMEOUT_S, check_unprotected

GUEST = "pvh"
ON_REQUEST = True
STUCK_S = 30
# Nothing may count as lost while processes stand still.
OPTIONS = "--timeout 120000"


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect(OPTIONS) as protection:
            protection.wait_until_protected()
            lab.ssh(1, "pkill -STOP -x specrep-primary; pkill -INT -x xl-specrep")
            end = protection.end()
            assert end.status == 130 and "specrep-primary does not end; killing it" in end.stderr, end
            assert end.seconds >= STUCK_S - 1, end
        check_unprotected(lab, counter)

        with lab.protect(OPTIONS) as protection:
            protection.wait_until_protected()
            # Nobody confirms the stop, and soon nobody is left who could ask.
            lab.ssh(2, "pkill -STOP -x specrep-backup")
            lab.ssh(1, "pkill -KILL -x xl-specrep")
        lab.wait_for(lambda: lab.ssh(1, "pgrep -x specrep-primary", check=False).returncode == 1, SETTLE_TIMEOUT_S,
                     "the end of specrep-primary")
        assert lab.output_buffers(1) != []
        refused = lab.ssh(1, "xl remus-spec-stop pvh", check=False)
        assert refused.returncode == 1 and "may run on" in refused.stderr, refused
        # It finds the order to stop, and discards its copy; the operator can know that.
        lab.ssh(2, "pkill -CONT -x specrep-backup")
        lab.wait_for(lambda: lab.domains(2) == [], SETTLE_TIMEOUT_S, "the end of the copy on host 2")
        assert "network opened" in lab.ssh(1, "xl remus-spec-stop --force pvh").stdout
        check_unprotected(lab, counter)
