"""A planned switchover takes a guest to the other host and back: clients only wait, and no reply is lost or repeated."""

import contextlib

from switchover import failover_command, switch_over

GUEST = ("pvh", "hvm")
ON_REQUEST = True
# Protection's options, and how often a client asks: without PV drivers an emulated guest's state takes longer than a
# short epoch, and so does every frame.
LOADS = {"pvh": ("-i 200 --timeout 3000", 25), "hvm": ("-i 1000 --timeout 5000", 200)}


def run(lab):
    refused = failover_command(lab, 1)
    assert refused.returncode == 1 and f"{lab.guest} is not protected" in refused.stderr, refused
    options, interval_ms = LOADS[lab.guest]
    with contextlib.ExitStack() as stack:
        watching = []
        there = switch_over(lab, 1, options, lambda: watching.extend(
            stack.enter_context(start()) for start in (lab.Witness, lab.Observer)), interval_ms)
        witness, observer = watching
        observer.check_one_speaker(2)
        assert witness.wait_for_replies(60) == []
        witness.check()
    back = switch_over(lab, 2, options, interval_ms=interval_ms)
    assert there.lost == back.lost == [], f"{there}; {back}"
    print(f"to host 2: {there}; back: {back}")
