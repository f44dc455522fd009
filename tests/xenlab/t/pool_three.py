"""In a pool of three hosts and etcd guests go on, are restarted and protected again as planned, whichever host is cut."""

import json
import time

from pool import Pool

GUEST = None
HOSTS = (1, 2, 3)
INSTALL = False  # the pool does, of packages
ON_REQUEST = True

# Less, and an emulated dom0 that is busy would be taken for one that hangs.
WATCHDOG_S = 30
STARTED_MAX_S = 900
WENT_ON_MAX_S = 300
REBOOT_MAX_S = 900
RESTARTED = 3  # the number of the guest that has no copy


def parameters(number):
    others = ",".join(f"xen{host}" for host in HOSTS if host != number)
    return f"preferred-host=xen{number} backup-hosts={others}" + (" protection=restart" if number == RESTARTED else "")


def places(guests):
    return {guest["name"]: (guest["host"], guest["backup"]) for guest in guests}


def all_well(guests):
    """Each guest runs, and has a copy if it is to have one."""
    return all(guest["state"] == ("unprotected" if guest["name"] == f"small{RESTARTED}" else "protected")
               for guest in guests)


def planned(lab, status, host, asked):
    """What `specrep-pool plan` says on another host: where each guest runs and has its copy when that one is lost, and that
    nothing changes for those that it does not name."""
    plan = json.loads(lab.ssh(asked, "specrep-pool plan --json").stdout)
    outcome, = (outcome for outcome in plan["losses"] if outcome["lost"] == [f"xen{host}"])
    return places(status["guests"]) | places(outcome["guests"])


def count_on(pool, counts, lost):
    """Each guest goes on counting, or from 1 if it was restarted."""
    for guest in pool.guests:
        restarted = guest.name == f"small{RESTARTED}" and lost
        counts[guest.name] = 1 if restarted else counts[guest.name] + 1
        count = pool.count(guest, WENT_ON_MAX_S)
        assert count == counts[guest.name], f"{guest.name} counts {count}, not {counts[guest.name]}"


def cut(lab, pool, host, counts):
    asked = next(other for other in HOSTS if other != host)
    status = pool.status(asked)
    plan, before = planned(lab, status, host, asked), places(status["guests"])
    restarted = before[f"small{RESTARTED}"][0] == f"xen{host}"
    print(f"host {host} is cut; before: {before}; planned: {plan}")
    lab.power_cut(host)
    cut_s = time.monotonic()
    for guest in pool.guests[:RESTARTED - 1]:
        counts[guest.name] += 1
        assert pool.count(guest, WENT_ON_MAX_S) == counts[guest.name], f"{guest.name} was set back"
    print(f"guests with a copy answer: {time.monotonic() - cut_s:.1f} s after host {host} lost its power")
    pool.wait_for(asked, lambda guests: places(guests) == plan and all_well(guests), STARTED_MAX_S, f"the plan {plan}")
    print(f"all as planned, and protected: {time.monotonic() - cut_s:.0f} s")
    count_on(pool, counts, restarted)
    lab.power_on(host)
    print(f"host {host} is back: {pool.wait_for(host, all_well, STARTED_MAX_S, 'all well'):.0f} s until all is well there")


def run(lab):
    with lab.etcd() as etcd:
        ha = [f"arbiter={etcd.url}", "fencing=watchdog", f"watchdog-s={WATCHDOG_S}"]
        pool = Pool(lab, guests=3, ha=ha, parameters=parameters)
        print(f"started and protected: {pool.wait_for(1, all_well, STARTED_MAX_S, 'all well'):.0f} s after the services")
        counts = {guest.name: [pool.count(guest) for _ in range(3)][-1] for guest in pool.guests}
        for host in HOSTS:
            cut(lab, pool, host, counts)

        # A reboot takes the guests with a copy to it; one without waits for its host, or for its watchdog.
        before = places(pool.status(1)["guests"])
        lab.ssh(2, "systemctl reboot", check=False)
        reboot_s = time.monotonic()
        time.sleep(WATCHDOG_S)
        lab.wait_for_boot(2)
        print(f"host 2 is back: {time.monotonic() - reboot_s:.0f} s after it began to reboot")
        pool.wait_for(2, all_well, REBOOT_MAX_S, "all well")
        print(f"all guests run and are protected: {time.monotonic() - reboot_s:.0f} s after the reboot began")
        count_on(pool, counts, before[f"small{RESTARTED}"][0] == "xen2")
