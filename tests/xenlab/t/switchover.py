"""A planned switchover takes a guest to the other host and back: clients only wait, and no reply is lost or repeated."""

from switchover import failover_command, switch_over

GUEST = ("pvh", "hvm")
OPTIONS = "-i 200 --timeout 3000"


def run(lab):
    refused = failover_command(lab, 1)
    assert refused.returncode == 1 and f"{lab.guest} is not protected" in refused.stderr, refused
    with lab.Witness() as witness:
        assert witness.wait_for_replies(60) == []
        with lab.Observer() as observer:
            there = switch_over(lab, 1, OPTIONS)
            assert witness.wait_for_replies(60) == []
            observer.check_one_speaker(2)
        witness.check()
        back = switch_over(lab, 2, OPTIONS)
        assert witness.wait_for_replies(60) == []
        witness.check()
    assert there.lost == back.lost == [], f"{there}; {back}"
    print(f"to host 2: {there}; back: {back}")
