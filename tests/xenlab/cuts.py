#!/usr/bin/python3
"""Cuts the power under a protected guest, again and again at random moments, each time in a fresh
lab; checks each time that a client's connection went on and lost nothing, and prints the times."""

import argparse
import json
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from common import LabError, lab_dir, say  # noqa: E402
from cut import cut_power  # noqa: E402
from lab import Lab  # noqa: E402
from package import make_package  # noqa: E402

GUESTS = ("pvh", "hvm")
# Rewritten while the power is cut: nothing but what the guest does by itself, and a busy guest.
LOADS_PAGES_PER_S = (0, 300)
TIMEOUT_MS = 1000
PHASES = ("detected", "decided", "running", "announced", "answer")


def percentile(values, share):
    """The smallest value that is not exceeded by that share of the values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * share // 100) - 1))]


def one(number, guest, load, package, options):
    with Lab.fresh(lab_dir(), guest, package) as lab:
        result = cut_power(lab, f"{options} --timeout {TIMEOUT_MS}", load)
        result.check()
        if lab.domains(2) != [guest]:
            raise AssertionError(f"host 2 runs {lab.domains(2)}")
        say(f"cut {number}, {guest}, {load} pages/s: {result}")
        return result


def main():
    parser = argparse.ArgumentParser(prog="cuts", description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="cuts in all [40]")
    parser.add_argument("--options", default="-i 200", help="for xl remus-spec [-i 200]")
    parser.add_argument("--json", metavar="FILE", help="write every cut's figures")
    arguments = parser.parse_args()
    results, failures = {guest: [] for guest in GUESTS}, []
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="specrep-cuts-") as folder:
        package = make_package(folder)
        for number in range(1, arguments.count + 1):
            guest = GUESTS[number % len(GUESTS)]
            load = LOADS_PAGES_PER_S[number // len(GUESTS) % len(LOADS_PAGES_PER_S)]
            try:
                results[guest].append(one(number, guest, load, package, arguments.options))
            except (AssertionError, LabError) as error:
                failures.append(f"cut {number}, {guest}, {load} pages/s: {error}")
                say(f"FAILED {failures[-1]}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({guest: [vars(result) for result in of] for guest, of in results.items()}, file, indent=1)
    print(f"\n{arguments.count} power cuts with {arguments.options} --timeout {TIMEOUT_MS}, in "
          f"{time.monotonic() - start_s:.0f} s: {len(failures)} failed\n")
    print(f"{'seconds from the cut until':34}{'guest':>6}{'n':>4}{'min':>8}{'median':>8}{'99 %':>8}")
    names = {"detected": "host 2 noticed", "decided": "it might take over", "running": "the guest ran there",
             "announced": "its cards were announced",
             "answer": "the same connection answered"}
    for guest, of in results.items():
        for phase in PHASES if of else ():
            values = [getattr(result, f"{phase}_s") for result in of]
            print(f"{names[phase]:34}{guest:>6}{len(of):>4}{min(values):>8.2f}{percentile(values, 50):>8.2f}"
                  f"{percentile(values, 99):>8.2f}")
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"cuts: {error}")
