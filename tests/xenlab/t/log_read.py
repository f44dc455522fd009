"""When another tool reads the dirty log of a protected guest, as a live migration does, protection ends before a copy lacks pages."""

import time

import probes
from protection import check_unprotected, protected_under_load

GUEST = ("pvh", "hvm")
ON_REQUEST = True
DIRTY_PAGES_PER_S = 200
BEFORE_S = 3


def run(lab):
    probe = probes.install(lab, "read-log")
    with protected_under_load(lab, "-i 500 --timeout 5000", DIRTY_PAGES_PER_S) as (counter, protection):
        time.sleep(BEFORE_S)
        lab.ssh(1, f"{probe} $(xl domid {lab.guest})")
        protection.end().expect(1, f"another tool has read the dirty log of guest {lab.guest}")
        check_unprotected(lab, counter)
