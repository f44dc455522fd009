#!/usr/bin/python3
"""Stock `xl remus` and `xl remus-spec` side by side: the same guest, the same load, one run.

Pages, pauses and epochs are measured in virtual time, where they mean something; the time from
power cut to a running guest in real time.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import explain  # noqa: E402
from common import HERE, LabError, lab_dir, run, say  # noqa: E402
from lab import Lab  # noqa: E402

GUEST = "pvh"
EPOCH_MS = 500
# Random pages of 32 MiB that the guest rewrites each second, besides what idling dirties.
LOAD_PAGES_PER_S = 500
MEASURED_S = 10
# Virtual time passes ten and more times slower than real time on a busy host.
READY_TIMEOUT_S = 1800
CHECKPOINTS_BEFORE = 3
# Stock Remus is given this long to notice that the primary has lost its power.
FAILOVER_TIMEOUT_S = 120
# Hosts in virtual time drift apart: only a dead process counts as a dead primary here.
NO_TIMEOUT = "--timeout 600000 --heartbeat 1000"


class Stock:
    name = "xl remus -Fnd"

    def __init__(self, lab):
        self.lab = lab
        self.process = lab.ssh_start(
            1, f"xl remus -Fnd -i {EPOCH_MS} -s '/root/stream-count /root/stream.log ssh' {GUEST} xen2 "
               ">/root/remus.log 2>&1")

    def checkpoints(self):
        """(pages, bytes) of each checkpoint so far; the first is the first copy."""
        lines = self.lab.ssh(1, "cat /root/stream.log", check=False).stdout.splitlines()
        return [tuple(int(word) for word in line.split()[1:]) for line in lines]

    def wait_until_protected(self):
        self.lab.wait_for(lambda: len(self.checkpoints()) > CHECKPOINTS_BEFORE, READY_TIMEOUT_S, "Remus's checkpoints")

    def measure(self, watch):
        before = len(self.checkpoints())
        result = watch()
        epochs = self.checkpoints()[before:]
        result["pages"] = sum(pages for pages, _ in epochs) / len(epochs)
        result["bytes"] = sum(size for _, size in epochs) / len(epochs)
        return result

    def running_after_cut(self, cut_s):
        """Seconds from the power cut until the guest ran on host 2, or None."""
        while time.monotonic() - cut_s < FAILOVER_TIMEOUT_S:
            if self.lab.domains(2) == [GUEST]:
                return time.monotonic() - cut_s
            time.sleep(0.2)
        return None


class Specrep:
    name = "xl remus-spec -F -n"

    def __init__(self, lab):
        self.lab = lab
        timeout = NO_TIMEOUT if lab.virtual_time else ""
        self.process = lab.ssh_start(1, f"xl remus-spec -F -n -i {EPOCH_MS} {timeout} {GUEST} xen2 "
                                        ">/root/remus.log 2>&1")

    def status(self):
        entry = explain.protection(self.lab, 1, GUEST)
        if entry is None:
            raise LabError("xl remus-spec has ended: " + self.lab.ssh(1, "tail -5 /root/remus.log").stdout)
        return entry["status"]

    def wait_until_protected(self):
        self.lab.wait_for(lambda: explain.protection(self.lab, 1, GUEST), 600, "xl remus-spec")
        self.lab.wait_for(lambda: self.status().get("committed_epoch", 0) > CHECKPOINTS_BEFORE,
                          READY_TIMEOUT_S, "specrep's commits")

    def measure(self, watch):
        result = watch()
        status = self.status()
        result["pages"] = status["pages_per_epoch"]
        result["bytes"] = status["bytes_per_epoch"]
        result["residual_pages"] = status["residual_pages_per_epoch"]
        result["residual_bytes"] = status["residual_bytes_per_epoch"]
        result["pause_split"] = [status[f"{part}_ms"] for part in PAUSE_PARTS]
        return result

    running_after_cut = Stock.running_after_cut


def build_probes(folder):
    """The programs that measure, for the hosts, which run the same Debian."""
    for source, libraries in (("stopwatch", ["-lxenctrl"]), ("stream-count", [])):
        run(["g++", "-std=gnu++20", "-O2", "-o", f"{folder}/{source}", HERE / "probe" / f"{source}.cc", *libraries],
            f"build {source}")
    return [pathlib.Path(folder) / name for name in ("stopwatch", "stream-count")]


def start(kind, probes, virtual_time):
    """A fresh lab with the guest under load and protected; the caller ends it."""
    lab = Lab.start(lab_dir(), GUEST, virtual_time)
    try:
        lab.push()
        for probe in probes:
            with open(probe, "rb") as program:
                subprocess.run(lab.ssh_argv(1, f"cat >/root/{probe.name}; chmod +x /root/{probe.name}"),
                               stdin=program, check=True)
        lab.ask(lab.GUEST_ADDRESSES[GUEST], f"dirty {LOAD_PAGES_PER_S}")
        protection = kind(lab)
        protection.wait_until_protected()
        return lab, protection
    except BaseException:
        lab.down()
        raise


def measure(kind, probes, virtual_time):
    say(f"{kind.name}: pages and pauses, in {'virtual' if virtual_time else 'real'} time")
    lab, protection = start(kind, probes, virtual_time)
    try:
        domid = lab.ssh(1, f"xl domid {GUEST}").stdout.strip()
        return protection.measure(
            lambda: json.loads(lab.ssh(1, f"/root/stopwatch {domid} {MEASURED_S}", timeout=READY_TIMEOUT_S).stdout))
    finally:
        lab.down()


def cut(kind, probes):
    say(f"{kind.name}: power cut, in real time")
    lab, protection = start(kind, probes, False)
    try:
        lab.power_cut(1)
        return protection.running_after_cut(time.monotonic())
    finally:
        lab.down()


def rows(measured, after_cut_s):
    stop_ms = 1000 * measured["stopped_s"] / max(measured["stops"], 1)
    split = measured.get("pause_split", ["-"] * len(PAUSE_PARTS))
    return [
        ("epochs per minute", f"{60 * measured['stops'] / measured['seconds']:.1f}"),
        ("share of time stopped", f"{100 * measured['stopped_s'] / measured['seconds']:.1f} %"),
        ("stopped per epoch", f"{stop_ms:.1f} ms"),
        ("  suspend, capture, resume", split or "-"),
        ("pages per epoch", f"{measured['pages']:.0f}"),
        ("bytes per epoch", f"{measured['bytes'] / 1e3:.0f} kB"),
        ("power cut to running guest", f"{after_cut_s:.1f} s" if after_cut_s else f"not within {FAILOVER_TIMEOUT_S} s"),
    ]


def main():
    parser = argparse.ArgumentParser(prog="compare", description=__doc__)
    parser.add_argument("--real-time", action="store_true",
                        help="measure pages and pauses in real time too: quicker, and good for nothing but a look")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="specrep-probes-") as folder:
        probes = build_probes(folder)
        columns = [rows(measure(kind, probes, not arguments.real_time), cut(kind, probes)) for kind in (Stock, Specrep)]
    print(f"\nguest {GUEST}, 160 MiB, {LOAD_PAGES_PER_S} random pages rewritten per second, -i {EPOCH_MS}, "
          f"{MEASURED_S} s measured\n")
    print(f"{'':28}{Stock.name:>25}{Specrep.name:>25}")
    for stock, ours in zip(*columns):
        print(f"{stock[0]:28}{stock[1]:>25}{ours[1]:>25}")


if __name__ == "__main__":
    try:
        main()
    except (LabError, AssertionError) as error:
        sys.exit(f"compare: {error}")
