#!/usr/bin/python3
"""Cuts the power under a protected guest that writes to a replicated disk, again and again at random moments, each
time in a fresh lab: under the journal and under PostgreSQL in turn. Checks each time that the disk with which the
guest goes on has all that was acknowledged and nothing else, and prints how long nothing was acknowledged.

Ctrl-C ends it early."""

import argparse
import contextlib
import dataclasses
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable

sys.dont_write_bytecode = True

import disk  # noqa: E402
from common import LabError, lab_dir, say  # noqa: E402
from cuts import percentile  # noqa: E402
from lab import Lab  # noqa: E402
from network import DATABASE_GUEST, DISK_GUEST, HOSTS  # noqa: E402
from package import make_package  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Load:
    guest: str
    apply: Callable  # a context manager for a lab whose guest runs
    cut: Callable  # cuts and checks, given the lab and what `apply` gave


LOADS = {"journal": Load(DISK_GUEST, disk.journal_load, disk.cut_journal),
         "postgres": Load(DATABASE_GUEST, disk.database_load, disk.cut_database)}
TIMES = {"first_s": "the next acknowledgement", "all_s": "one on each connection"}
LOG_LINES = 20


def one(load, package):
    with Lab.fresh(lab_dir(), load.guest, package) as lab:
        try:
            lab.start_disk_guest()
            with load.apply(lab) as client, disk.protected(lab):
                return load.cut(lab, client)
        except (AssertionError, LabError):
            show_log(lab)
            raise


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
    with tempfile.TemporaryDirectory(prefix="specrep-disk-cuts-") as folder, contextlib.suppress(KeyboardInterrupt):
        package = make_package(folder)
        for name in itertools.islice(itertools.cycle(arguments.only), arguments.count):
            number += 1
            try:
                results[name].append(one(LOADS[name], package))
                say(f"cut {number}, {name}, {time.monotonic() - start_s:.0f} s: {results[name][-1]}")
            except (AssertionError, LabError) as error:
                failures.append(f"cut {number}, {name}: {error}")
                say(f"FAILED {failures[-1]}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"cuts": {load: [vars(cut) for cut in of] for load, of in results.items()},
                       "failures": failures}, file, indent=1)
    print(f"\n{number} power cuts with {disk.CUT_OPTIONS}, in {time.monotonic() - start_s:.0f} s: "
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
