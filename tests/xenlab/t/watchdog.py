"""With --watchdog a host whose dom0 hangs is restarted; one that only loses specrep-primary is not."""

import time

from explain import wait_for_failover
from protection import check_unprotected

GUEST = "pvh"
ON_REQUEST = True
WATCHDOG_S = 5
# The whole of dom0's user space stands still, as it does when the kernel no longer runs it.
HANG = "for slice in user system; do echo 1 > /sys/fs/cgroup/$slice.slice/cgroup.freeze; done"


def run(lab):
    options = f"--timeout 1000 --watchdog {WATCHDOG_S}"
    boot = boot_of(lab)
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect(options) as protection:
            protection.wait_until_protected()
            lab.ssh(1, "pkill -KILL -x specrep-primary")
            protection.end().expect(1, "specrep-primary died", "pvh runs on, unprotected")
            check_unprotected(lab, counter)
            time.sleep(2 * WATCHDOG_S)
            assert boot_of(lab) == boot
        with lab.protect(options) as protection:
            protection.wait_until_protected()
            hang = lab.ssh_start(1, HANG)
            wait_for_failover(lab, 2, "pvh", 60)
            lab.wait_for(lambda: "watchdog rebooting machine" in lab.console(1), 60, "Xen to restart host 1")
            hang.kill()
            hang.communicate()
        counter.wait_for_answer(60)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
    assert lab.domains(2) == ["pvh"]


def boot_of(lab):
    return lab.ssh(1, "cat /proc/sys/kernel/random/boot_id").stdout
