"""Guests of a pool are started, protected, and protected again after power cuts and a reboot, by the agents alone."""

import json
import time

from pool import Pool

GUEST = None
INSTALL = False  # the pool does, of packages
ON_REQUEST = True

STARTED_MAX_S = 600
WENT_ON_MAX_S = 240
REBOOT_MAX_S = 900


def planned(lab, host):
    """What `specrep-pool plan` says there: where each guest runs and has its copy when that host is lost."""
    plan = json.loads(lab.ssh(host, "specrep-pool plan --json").stdout)
    outcome, = (outcome for outcome in plan["losses"] if outcome["lost"] == [f"xen{host}"])
    return {guest["name"]: (guest["host"], guest["backup"]) for guest in outcome["guests"]}


def cut(lab, pool, host, counts):
    """Cuts the power of the host where all guests run; they go on at the other one, as planned."""
    other, plan = 3 - host, planned(lab, host)
    lab.power_cut(host)
    cut_s = time.monotonic()
    for guest in pool.guests:
        counts[guest.name] += 1
        assert pool.count(guest, WENT_ON_MAX_S) == counts[guest.name], f"{guest.name} was set back"
    print(f"all guests answer on host {other}: {time.monotonic() - cut_s:.1f} s after host {host} lost its power")
    assert sorted(lab.domains(other)) == [guest.name for guest in pool.guests]

    def as_planned():
        status = pool.status(other)
        return status and {guest["name"]: (guest["host"], guest["backup"]) for guest in status["guests"]} == plan

    lab.wait_for(as_planned, STARTED_MAX_S, f"what was planned: {plan}")
    lab.power_on(host)
    print(f"protected again: {pool.wait_until_protected(other, host, STARTED_MAX_S):.0f} s after host {host} was back")


def run(lab):
    pool = Pool(lab, guests=3)
    print(f"started and protected: {pool.wait_until_protected(1, 2, STARTED_MAX_S):.0f} s after the services")

    # To restart the services changes nothing.
    counts = {guest.name: [pool.count(guest) for _ in range(3)][-1] for guest in pool.guests}
    copies = lab.ssh(2, "pgrep -x specrep-backup").stdout
    for host in (1, 2):
        lab.ssh(host, "systemctl restart specrep-listener specrep-agent")
    pool.wait_until_protected(1, 2, STARTED_MAX_S)
    assert lab.ssh(2, "pgrep -x specrep-backup").stdout == copies, "a copy was made anew"

    cut(lab, pool, 1, counts)
    cut(lab, pool, 2, counts)

    lab.ssh(1, "systemctl reboot", check=False)
    reboot_s = time.monotonic()
    lab.wait_for(lambda: len(lab.domains(2)) == 3, REBOOT_MAX_S, "the guests on host 2")
    for guest in pool.guests:
        assert pool.count(guest) == counts[guest.name] + 1, f"{guest.name} was set back"
    print(f"all guests answer on host 2: {time.monotonic() - reboot_s:.0f} s after host 1 began to reboot")
    lab.wait_for_boot(1)
    print(f"host 1 is back: {time.monotonic() - reboot_s:.0f} s")
    print(f"protected again: {pool.wait_until_protected(2, 1, STARTED_MAX_S):.0f} s after that")
