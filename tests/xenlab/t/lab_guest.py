"""A guest's counter is reached from outside both hosts, and counts without a gap."""

import time

GUEST = ("pvh", "hvm")
ON_REQUEST = True
COUNT = 20


def run(lab):
    address = lab.GUEST_ADDRESSES[lab.guest]
    assert lab.domains(1) == [lab.guest]
    first = int(lab.ask(address, "peek"))
    with lab.Counter(address) as counter:
        lab.wait_for(lambda: counter.last_value() >= first + COUNT, 60, f"{COUNT} answers")
        counter.dirty(100)
        counter.wait_for_answer(30, after_ns=time.monotonic_ns())
        counter.check_continuous()
        assert counter.troubles() == []
