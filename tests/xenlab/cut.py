"""Cuts the power under a protected guest, and checks from outside that nothing seen of it is lost."""

import dataclasses
import random
import time

from explain import failover_times, wait_for_failover
from network import tap

FAILOVER_TIMEOUT_S = 120
# A client's established connection must go on within this time.
CONNECTION_MAX_S = 90
# Before the cut, from the first commit: long enough for some epochs at the lab's speed.
RUN_MIN_S, RUN_MAX_S = 3, 6


@dataclasses.dataclass(frozen=True)
class Cut:
    seen: int  # the highest value that the client had read when the power was cut
    went_on_from: int  # the first that it read, on the same connection, afterwards; 0: none
    trouble: str  # what became of the connection; empty: it goes on
    recounted: int  # what the guest has counted to, by a new connection
    failover: dict  # as specrep-backup recorded it
    detected_s: float
    decided_s: float
    running_s: float
    announced_s: float
    answer_s: float  # all from the cut; this one to the next answer on the old connection
    lost: dict  # by stream of the witness, what it was answered and the guest does not know
    silent: list  # the streams that the guest answers no more
    gaps_s: dict  # by stream, the longest time without a reply
    frames: dict  # what the guest's cards sent from host 2, by kind of frame

    def check(self):
        """Asserts that what the client saw is explained by the state that was activated."""
        assert self.recounted >= self.seen, (
            f"the client had read {self.seen}, and the guest went back to {self.recounted}: acknowledged work is lost")
        assert not self.trouble, f"the connection broke: {self.trouble}"
        assert self.went_on_from == self.seen + 1, (
            f"the client read {self.went_on_from} after {self.seen} on the same connection")
        assert not self.lost, f"what was seen of the guest is lost: {self.lost}"
        assert not self.silent, f"the guest does not answer any more: {self.silent}"

    def __str__(self):
        return (f"read {self.seen} before the cut, {self.went_on_from} after it on the same connection; detected "
                f"{self.detected_s:.2f} s, decided {self.decided_s:.2f} s, running {self.running_s:.2f} s, answered "
                f"{self.answer_s:.2f} s after the cut (epoch {self.failover['epoch']}); without a reply for, in s: "
                f"{', '.join(f'{stream} {gap_s:.2f}' for stream, gap_s in self.gaps_s.items())}; "
                f"frames from host 2: {self.frames}")


def cut_power(lab, options, dirty_pages_per_s=0):
    """Protects the lab's guest, cuts host 1's power at a random moment, and says what was seen from outside."""
    address = lab.GUEST_ADDRESSES[lab.guest]
    with lab.Counter(address, interval_ms=20) as counter, lab.Witness() as witness:
        counter.wait_for_answer(60)
        assert witness.wait_for_replies(60) == []
        with lab.protect(options) as protection:
            protection.wait_until_protected()
            lab.network.forget_neighbours()
            # The first replies may have been on their way already. Those after them tell that what the guest claimed
            # when it was asked again where it is has been committed, so that it will be announced.
            for _ in range(2):
                assert witness.wait_for_replies(60) == []
            if dirty_pages_per_s:
                counter.dirty(dirty_pages_per_s)
            time.sleep(random.uniform(RUN_MIN_S, RUN_MAX_S))
            lab.power_cut(1)
            cut_ns, cut_s = time.monotonic_ns(), time.time()
        # What was on its way at the cut has arrived by then.
        time.sleep(0.3)
        seen, settled_ns = counter.last_value(), time.monotonic_ns()
        failover = wait_for_failover(lab, 2, lab.guest, FAILOVER_TIMEOUT_S)
        recounted = int(lab.ask(address, "peek", FAILOVER_TIMEOUT_S))
        deadline_s = time.monotonic() + CONNECTION_MAX_S
        after = None
        while after is None and not counter.troubles() and time.monotonic() < deadline_s:
            after = counter.next_answer_after(settled_ns)
            time.sleep(0.02)
        silent = witness.wait_for_replies(deadline_s - time.monotonic(), settled_ns)
        if after:
            time.sleep(1)
            counter.check_continuous()
        lost = witness.failures()
        gaps_s, frames = witness.longest_gaps_s(), dict(witness.frames(settled_ns)[tap("guest", 2)])
        trouble = "; ".join(counter.troubles()) or ("" if after else f"no answer for {CONNECTION_MAX_S} s")
    answer_s = (after.time_ns - cut_ns) / 1e9 if after else float("inf")
    times = failover_times(lab, 2, failover, cut_s)
    return Cut(seen, after.value if after else 0, trouble, recounted, failover, times.detected_s, times.decided_s,
               times.running_s, times.announced_s, answer_s, lost, silent, gaps_s, frames)
