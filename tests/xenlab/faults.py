#!/usr/bin/python3
"""Strikes a protected guest with faults, each at a random moment under traffic in a fresh lab; checks each
time that its client's connection went on, that one copy alone was heard outside and is left, and that its
network is open; and prints which host it went on at, and how long its client waited."""

import argparse
import collections
import contextlib
import json
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import fault  # noqa: E402
from common import LabError, lab_dir, say  # noqa: E402
from lab import Lab  # noqa: E402
from network import HOSTS  # noqa: E402
from package import make_package  # noqa: E402

GUESTS = ("pvh", "hvm")
# What happens, and the arbiter if there is one.
KINDS = {
    "partition-etcd": (fault.partition_with_arbiter, Lab.etcd),
    "partition-file": (fault.partition_with_arbiter, Lab.shared_folder),
    "partition-yield-primary": (fault.partition_primary_yields, None),
    "partition-yield-backup": (fault.partition_backup_yields, None),
    "kill-primary": (fault.primary_killed, Lab.etcd),
    "kill-backup": (fault.backup_killed, Lab.etcd),
    "kill-backup-host": (fault.backup_cut, Lab.etcd),
}


def one(kind, guest, package):
    strike, make_arbiter = KINDS[kind]
    with Lab.fresh(lab_dir(), guest, package) as lab:
        with make_arbiter(lab) if make_arbiter else contextlib.nullcontext() as arbiter:
            return strike(lab, f"--arbiter {arbiter.url}" if arbiter else "")


def main():
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--count", type=int, default=5, help="runs of each kind [5]")
    parser.add_argument("--only", nargs="+", choices=KINDS, metavar="NAME", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--json", metavar="FILE", help="write every run's figures")
    arguments = parser.parse_args()
    runs, failures = [], collections.defaultdict(list)
    kinds = arguments.only or KINDS
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="specrep-faults-") as folder:
        package = make_package(folder)
        for number in range(arguments.count):
            for index, kind in enumerate(kinds):
                guest = GUESTS[(number + index) % len(GUESTS)]
                try:
                    outcome = one(kind, guest, package)
                    say(f"{kind}, {guest}: {outcome}")
                    runs.append({"kind": kind, "guest": guest, **vars(outcome)})
                except (AssertionError, LabError) as error:
                    failures[kind].append(f"{kind}, {guest}: {error}")
                    say(f"FAILED {failures[kind][-1]}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"runs": runs, "failures": sum(failures.values(), [])}, file, indent=1)
    print(f"\n{arguments.count * len(kinds)} faults in {time.monotonic() - start_s:.0f} s; "
          "seconds are from the fault until the next answer\n")
    print(f"{'':24}{'runs':>5}{'failed':>8}" + "".join(f"{f'host {host}':>8}" for host in HOSTS)
          + f"{'min':>8}{'median':>8}{'max':>8}")
    for kind in kinds:
        of = [run for run in runs if run["kind"] == kind]
        hosts = [run["goes_on_at"] for run in of]
        times_s = [run["answer_s"] for run in of]
        print(f"{kind:24}{arguments.count:>5}{len(failures[kind]):>8}"
              + "".join(f"{hosts.count(host):>8}" for host in HOSTS)
              + "".join(f"{figure(times_s):>8.1f}" for figure in (min, statistics.median, max) if times_s))
    for failure in sum(failures.values(), []):
        print(f"FAILED {failure}")
    return 1 if any(failures.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"faults: {error}")
