"""The guest `nosuspend` runs, but does not do as control/shutdown asks."""

import time

GUEST = None
ON_REQUEST = True
IGNORED_S = 10


def run(lab):
    lab.ssh(1, "xl create /root/pvh-nosuspend.cfg")
    lab.ssh(1, 'xenstore-write "/local/domain/$(xl domid nosuspend)/control/shutdown" suspend')
    time.sleep(IGNORED_S)
    line = lab.ssh(1, "xl list nosuspend").stdout.splitlines()[-1]
    assert line.split()[4] == "-b----", line
    left = lab.ssh(1, 'xenstore-read "/local/domain/$(xl domid nosuspend)/control/shutdown"').stdout.strip()
    assert left == "suspend", f"the guest acknowledged: {left!r}"
