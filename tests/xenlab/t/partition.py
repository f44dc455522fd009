"""When the link is cut and there is no arbiter, the side that yields stands still: one copy answers, the same."""

from partitioned import GONE_S, check_backup_goes_on, cut_link

GUEST = ("pvh", "hvm")


def run(lab):
    with cut_link(lab, "--timeout 2000") as cut:
        cut.end.expect(1, f"{lab.guest} is paused and its network held")
        assert "remus-spec-stop --force" in cut.end.stderr, cut.end.stderr
        check_backup_goes_on(lab, cut)
        state = lab.ssh(1, f"xl list {lab.guest}").stdout.splitlines()[-1].split()[4]
        assert "p" in state, state
        # Without --force nothing opens the network of a guest whose copy may run.
        refused = lab.ssh(1, f"xl remus-spec-stop {lab.guest}", check=False)
        assert refused.returncode == 1 and "may run on" in refused.stderr, refused
        lab.ssh(1, f"xl destroy {lab.guest}")
        cut.counter.wait_for_answer(GONE_S)
        cut.counter.check_continuous()
