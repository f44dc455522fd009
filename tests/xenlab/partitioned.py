"""A protected guest whose hosts lose each other, with a client that counts with it all the time."""

import contextlib
import dataclasses

from client import Counter
from explain import wait_for_failover
from protection import End

END_MAX_S = 60
GONE_S = 120


@dataclasses.dataclass(frozen=True)
class CutLink:
    counter: Counter
    end: End
    seen: int  # when the link was cut


@contextlib.contextmanager
def cut_link(lab, options):
    """Protects the guest, cuts the replication link (ssh goes over it, too), and waits for xl remus-spec to end."""
    with lab.Counter(lab.GUEST_ADDRESSES[lab.guest]) as counter:
        counter.wait_for_answer(60)
        with lab.protect(options) as protection:
            protection.wait_until_protected()
            counter.wait_for_answer(30)
            seen = counter.last_value()
            lab.partition()
            end = protection.end(END_MAX_S)
        yield CutLink(counter, end, seen)


def check_backup_goes_on(lab, cut):
    """Asserts that the copy on host 2 goes on with the client's connection."""
    wait_for_failover(lab, 2, lab.guest, GONE_S)
    assert lab.domains(2) == [lab.guest]
    cut.counter.wait_for_answer(GONE_S)
    cut.counter.check_continuous()
    assert cut.counter.troubles() == [], cut.counter.troubles()
    assert cut.counter.last_value() > cut.seen
