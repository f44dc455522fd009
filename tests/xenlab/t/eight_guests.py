"""Eight guests are protected at once, four in each direction, and all go on when a host loses its power."""

import contextlib
import time

from pool import make_guest
from states import in_parallel

GUEST = None
ON_REQUEST = True

GUESTS = 8
# An emulated processor cannot do more.
OPTIONS = "-i 4000 --timeout 20000 --arbiter"
EPOCHS = 3
ANSWER_MAX_S = 300
COMMIT_MAX_S = 300


def committed(lab, host):
    """By guest, of those that are protected on a host."""
    return {entry["name"]: entry["status"]["committed_epoch"] for entry in lab.protections(host)
            if entry["role"] == "primary" and entry["state"] == "protected"}


def wait_for_epochs(lab, names):
    before = {host: committed(lab, host) for host in names}
    assert {host: sorted(before[host]) for host in names} == names, before
    lab.wait_for(lambda: all(committed(lab, host).get(name, 0) >= epoch + EPOCHS
                             for host in names for name, epoch in before[host].items()),
                 COMMIT_MAX_S, f"{EPOCHS} more epochs of each guest")


def run(lab):
    guests = [make_guest(lab, f"small{n}", f"192.168.88.{60 + n}", n) for n in range(1, GUESTS + 1)]
    names = {host: [guest.name for guest in guests[host - 1::2]] for host in (1, 2)}

    def count(expected):
        values = in_parallel(lambda guest: int(lab.ask(guest.address, "next", ANSWER_MAX_S)), guests)
        assert values == [expected] * GUESTS, values

    for host, here in names.items():
        for name in here:
            lab.ssh(host, f"xl create -q /etc/xen/{name}.cfg")
    # They may be starting, and lose an answer.
    in_parallel(lambda guest: lab.ask(guest.address, "peek", ANSWER_MAX_S), guests)
    count(1)
    with lab.etcd() as etcd, contextlib.ExitStack() as stack:
        start_s = time.monotonic()
        protections = [stack.enter_context(lab.protect(f"{OPTIONS} {etcd.url}", name, host))
                       for host, here in names.items() for name in here]
        for protection in protections:
            protection.wait_until_protected()
        print(f"all eight protected: {time.monotonic() - start_s:.0f} s")
        wait_for_epochs(lab, names)
        count(2)
        wait_for_epochs(lab, names)
        lab.power_cut(1)
        cut_s = time.monotonic()
        count(3)
        print(f"all eight answer: {time.monotonic() - cut_s:.1f} s after host 1 lost its power")
        assert sorted(lab.domains(2)) == sorted(guest.name for guest in guests), lab.domains(2)
        count(4)
        lab.wait_for(lambda: lab.protections(2) == [], COMMIT_MAX_S, "the end of what protected")
        assert lab.output_buffers(2) == [], lab.output_buffers(2)
