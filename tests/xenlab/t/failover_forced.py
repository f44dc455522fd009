"""A copy that --yield backup keeps when its primary is lost starts at the operator's word, and not without --force."""

from explain import protection as entry
from explain import wait_for_failover
from switchover import failover_command

GUEST = "pvh"
ON_REQUEST = True
LOST_S = 60


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 2000 --yield backup") as protection:
            protection.wait_until_protected()
            # Neither is for a primary that lives.
            for words in ("", "--force"):
                refused = failover_command(lab, 2, words)
                assert refused.returncode == 1 and "on xen1: xl remus-spec-failover pvh" in refused.stderr, refused
            refused = failover_command(lab, 1, "--force")
            assert refused.returncode == 2 and "pvh runs here" in refused.stderr, refused
            counter.wait_for_answer(30)
            lab.power_cut(1)
        lab.wait_for(lambda: (entry(lab, 2, "pvh") or {}).get("state") == "primary-lost", LOST_S, "the primary's loss")
        refused = failover_command(lab, 2)
        assert refused.returncode == 1 and "xl remus-spec-failover --force pvh" in refused.stderr, refused
        forced = failover_command(lab, 2, "--force")
        assert forced.returncode == 0 and forced.stdout == "pvh runs here now\n", forced
        wait_for_failover(lab, 2, "pvh", LOST_S)
        counter.wait_for_answer(60)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
        assert lab.domains(2) == ["pvh"]
