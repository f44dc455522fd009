"""Shows that nothing of a protected guest leaves its host before its epoch is committed, at any of its cards."""

import collections
import time

EPOCH_MS = 60_000  # longer than all that is watched
WATCH_S = 8


def watch_held(lab, options="", disturbance=None):
    """What the guest's cards sent within WATCH_S of one epoch, by kind of frame, while it was asked all the time.

    `disturbance` is a shell command for host 1, in the middle of that epoch. What the witness saw before, during
    and after is checked, too.
    """
    with lab.Witness() as witness:
        assert witness.wait_for_replies(60) == []
        with lab.protect(f"-i {EPOCH_MS} --timeout 60000 {options}") as protection:
            protection.wait_until_protected()
            since_ns = time.monotonic_ns()
            if disturbance:
                lab.ssh(1, disturbance)
            time.sleep(WATCH_S)
            sent = sum(witness.frames(since_ns).values(), start=collections.Counter())
            lab.ssh(1, f"xl remus-spec-stop {lab.guest}", timeout=120)
            protection.end(120).expect(0)
        assert witness.wait_for_replies(60) == []
        witness.check()
    return dict(sent)
