#!/usr/bin/python3
"""Cuts the power under a protected guest that writes to a replicated disk, again and again at random moments, each
time in a lab of its own: first under the journal, then under PostgreSQL. Checks each time that the disk with which the
guest goes on has all that was acknowledged and nothing else, and prints how long nothing was acknowledged.

The labs of a load go on from one that was frozen when its guest had just been protected, which takes minutes.
Ctrl-C ends it early."""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable

sys.dont_write_bytecode = True

import disk  # noqa: E402
from common import LabError, lab_dir, phase, say  # noqa: E402
from cuts import percentile  # noqa: E402
from lab import Lab  # noqa: E402
from network import DATABASE_GUEST, DISK_GUEST, HOSTS  # noqa: E402
from package import make_package  # noqa: E402

# Emulated hosts can hardly do more than one checkpoint a second, and are slow when they have just been restored.
OPTIONS = "-i 1000 --timeout 10000"


@dataclasses.dataclass(frozen=True)
class Load:
    guest: str
    apply: Callable  # a context manager for a lab whose guest runs
    cut: Callable  # cuts and checks, given the lab and what `apply` gave


LOADS = {"journal": Load(DISK_GUEST, disk.journal_load, disk.cut_journal),
         "postgres": Load(DATABASE_GUEST, disk.database_load, disk.cut_database)}
TIMES = {"first_s": "the next acknowledgement", "all_s": "one on each connection"}
LOG_LINES = 20
ANSWER_S = 120


def freeze_protected(load, package, memory):
    """Freezes a lab, with its memory in that folder, when the load's guest, which has nothing to do yet, is protected.
    """
    with phase("freezing a lab with a protected guest"):
        lab = Lab.start(lab_dir(), load.guest, memory=memory)
        try:
            lab.push(package)
            lab.start_disk_guest()
            # Nobody who would have to be frozen, too, waits for its end.
            lab.ssh(1, f"setsid -f xl remus-spec --json {OPTIONS} {load.guest} xen2 >/root/events 2>&1 </dev/null; "
                       "until grep -q '\"protected\"' /root/events; do sleep 1; done", disk.PROTECTED_S)
            lab.freeze(memory)
        finally:
            lab.down()


def one(load, memory):
    lab = Lab.thaw(lab_dir(), load.guest, memory)
    try:
        # Linux gives up asking who has an address before a protected guest's answer is let out.
        lab.ask(lab.GUEST_ADDRESSES[load.guest], "peek", ANSWER_S)
        with load.apply(lab) as client:
            lab.connect(2)
            return load.cut(lab, client)
    except (AssertionError, LabError):
        show_log(lab)
        raise
    finally:
        lab.down()


def show_log(lab):
    """What is in no later lab any more: how the hosts that have power saw it."""
    for host in filter(lab.is_running, HOSTS):
        with contextlib.suppress(LabError):
            say(f"host {host}: " + lab.ssh(host, f"tail -n {LOG_LINES} /var/log/specrep/*.log; xl remus-spec-list; "
                                                 "specrep-disk status", check=False).stdout)


def main():
    parser = argparse.ArgumentParser(prog="disk_cuts", description=__doc__)
    parser.add_argument("--count", type=int, default=30, help="cuts in all [30]")
    parser.add_argument("--only", nargs="+", choices=LOADS, default=list(LOADS), metavar="LOAD",
                        help=f"of {', '.join(LOADS)}")
    parser.add_argument("--json", metavar="FILE", help="write every cut's figures")
    arguments = parser.parse_args()
    results, failures, number = {load: [] for load in arguments.only}, [], 0
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="specrep-disk-cuts-", dir="/var/tmp") as folder, \
            contextlib.suppress(KeyboardInterrupt):
        package = make_package(folder)
        for index, name in enumerate(arguments.only):
            memory = pathlib.Path(folder) / name
            freeze_protected(LOADS[name], package, memory)
            while number < arguments.count * (index + 1) // len(arguments.only):
                number += 1
                try:
                    results[name].append(one(LOADS[name], memory))
                    say(f"cut {number}, {name}, {time.monotonic() - start_s:.0f} s: {results[name][-1]}")
                except (AssertionError, LabError) as error:
                    failures.append(f"cut {number}, {name}: {error}")
                    say(f"FAILED {failures[-1]}")
            shutil.rmtree(memory)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"cuts": {load: [vars(cut) for cut in of] for load, of in results.items()},
                       "failures": failures}, file, indent=1)
    print(f"\n{number} power cuts with {OPTIONS}, in {time.monotonic() - start_s:.0f} s: "
          f"{len(failures)} failed\n")
    print(f"{'seconds from the cut until':30}{'load':>10}{'n':>4}{'min':>8}{'median':>8}{'99 %':>8}")
    for load, of in results.items():
        for name, words in TIMES.items() if of else ():
            values = [getattr(cut, name) for cut in of]
            print(f"{words:30}{load:>10}{len(of):>4}{min(values):>8.2f}{percentile(values, 50):>8.2f}"
                  f"{percentile(values, 99):>8.2f}")
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"disk_cuts: {error}")
