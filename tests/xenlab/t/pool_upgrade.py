"""The hosts of a pool are upgraded one after the other; its guests run on, and are protected between old and new."""

import os

import deb
from pool import Pool

GUEST = None
INSTALL = False  # the pool does, of packages
ON_REQUEST = True

# What the pool is made with: without what the protocol calls feature 1 (doc/protocol.md).
OLD_COMMIT = os.environ.get("SPECREP_OLD_COMMIT", "ac378b3")
PROTECTED_MAX_S = 600
MOVE_MAX_S = 180


def run(lab):
    new = deb.build()[1]
    pool = Pool(lab, guests=2, packages=deb.build_commit(OLD_COMMIT))
    counts = {}

    def version(host):
        return lab.ssh(host, "dpkg-query -W -f '${Version}' specrep-tools").stdout

    new_version = new["specrep-tools"].name.split("_")[1]
    assert version(1) == version(2) != new_version, (version(1), version(2))

    def check(on, by, what):
        print(f"{what}: protected after {pool.wait_until_protected(on, by, PROTECTED_MAX_S):.0f} s; "
              f"host {on} has {version(on)}, host {by} {version(by)}")
        for guest in pool.guests:
            counts[guest.name] = counts.get(guest.name, 0) + 1
            assert pool.count(guest) == counts[guest.name], f"{guest.name} was set back"

    def upgrade(host):
        processes = "pgrep -l '^specrep-(primary|backup)'"
        before = lab.ssh(host, processes).stdout
        deb.install(lab, host, new.values())
        assert lab.ssh(host, processes).stdout == before, "an upgrade ended a protection"

    def protect_anew(on):
        for guest in pool.guests:
            lab.ssh(on, f"xl remus-spec-stop {guest.name}", MOVE_MAX_S)

    def move(to):
        for guest in pool.guests:
            moved = lab.ssh(3 - to, f"xl remus-spec-failover {guest.name}", MOVE_MAX_S)
            assert moved.stdout == f"{guest.name} runs on xen{to} now\n", moved

    check(1, 2, "old on both")
    upgrade(2)
    check(1, 2, "host 2 is upgraded")
    protect_anew(1)
    check(1, 2, "old primary, new backup")
    move(2)
    check(2, 1, "moved to the new one; new primary, old backup")
    upgrade(1)
    check(2, 1, "host 1 is upgraded")
    move(1)
    check(1, 2, "moved back; new on both")
    assert version(1) == version(2) == new_version, (version(1), version(2))
