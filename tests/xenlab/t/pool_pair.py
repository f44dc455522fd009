"""Guests of a pool are started, protected, and protected again after a power cut and a reboot, by the agents alone."""

import time

from pool import Pool

GUEST = None
ON_REQUEST = True

STARTED_MAX_S = 600
WENT_ON_MAX_S = 240
REBOOT_MAX_S = 900


def run(lab):
    pool = Pool(lab, guests=3)
    print(f"started and protected: {pool.wait_until_protected(1, 2, STARTED_MAX_S):.0f} s after the services")

    # To restart the services changes nothing.
    before = {guest.name: [pool.count(guest) for _ in range(3)][-1] for guest in pool.guests}
    copies = lab.ssh(2, "pgrep -x specrep-backup").stdout
    for host in (1, 2):
        lab.ssh(host, "systemctl restart specrep-listener specrep-agent")
    pool.wait_until_protected(1, 2, STARTED_MAX_S)
    assert lab.ssh(2, "pgrep -x specrep-backup").stdout == copies, "a copy was made anew"

    lab.power_cut(1)
    cut_s = time.monotonic()
    for guest in pool.guests:
        assert pool.count(guest, WENT_ON_MAX_S) == before[guest.name] + 1, f"{guest.name} was set back"
    print(f"all guests answer on host 2: {time.monotonic() - cut_s:.1f} s after host 1 lost its power")
    assert sorted(lab.domains(2)) == [guest.name for guest in pool.guests]

    lab.power_on(1)
    print(f"protected again: {pool.wait_until_protected(2, 1, STARTED_MAX_S):.0f} s after host 1 was back")

    lab.ssh(2, "systemctl reboot", check=False)
    reboot_s = time.monotonic()
    lab.wait_for(lambda: len(lab.domains(1)) == 3, REBOOT_MAX_S, "the guests on host 1")
    for guest in pool.guests:
        assert pool.count(guest) == before[guest.name] + 2, f"{guest.name} was set back"
    print(f"all guests answer on host 1: {time.monotonic() - reboot_s:.0f} s after host 2 began to reboot")
    lab.wait_for_boot(2)
    print(f"host 2 is back: {time.monotonic() - reboot_s:.0f} s")
    print(f"protected again: {pool.wait_until_protected(1, 2, STARTED_MAX_S):.0f} s after that")
