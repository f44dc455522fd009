#!/usr/bin/python3
"""One guest under one load: unprotected, with stock `xl remus`, with `xl remus-spec --policy remus`
and with `xl remus-spec`, in one run.

Pages, pauses and throughput are measured in virtual time, where they mean something; the time
from power cut to a running guest, with --cut, in real time.
"""

import argparse
import json
import sys
import time

sys.dont_write_bytecode = True

import explain  # noqa: E402
import probes  # noqa: E402
from common import LabError, lab_dir, say  # noqa: E402
from lab import Lab  # noqa: E402
from network import WORKLOADS  # noqa: E402

# Random pages of 32 MiB that the counter guest rewrites each second, besides what idling dirties.
LOAD_PAGES_PER_S = 500
# Virtual time passes ten and more times slower than real time on a busy host.
READY_TIMEOUT_S = 1800
CHECKPOINTS_BEFORE = 10
# Stock Remus is given this long to notice that the primary has lost its power.
FAILOVER_TIMEOUT_S = 120
# Hosts in virtual time drift apart: only a dead process counts as a dead primary here.
NO_TIMEOUT = "--timeout 600000 --heartbeat 1000"
PAUSE_PARTS = ("suspend", "capture_memory", "capture_state", "resume")
# The guest's time has its write faults in it, dom0's what specrep-primary uses.
CPU = (("guest", "guest_cpu_s"), ("dom0", "dom0_cpu_s"), ("specrep-primary", "primary_cpu_s"))


class Unprotected:
    name = "unprotected"

    def __init__(self, lab, epoch_ms):
        self.lab = lab
        self.epoch_ms = epoch_ms

    def wait_until_protected(self):
        pass

    def measure(self, watch):
        return watch()


class Stock(Unprotected):
    name = "xl remus -Fnd"

    def __init__(self, lab, epoch_ms):
        super().__init__(lab, epoch_ms)
        self.process = lab.ssh_start(
            1, f"xl remus -Fnd -i {epoch_ms} -s '/root/stream-count /root/stream.log ssh' {lab.guest} xen2 "
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
        result["pages"] = result["residual_pages"] = sum(pages for pages, _ in epochs) / len(epochs)
        result["bytes"] = result["residual_bytes"] = sum(size for _, size in epochs) / len(epochs)
        return result


class RemusPolicy(Unprotected):
    name = "--policy remus"
    policy = "remus"

    def __init__(self, lab, epoch_ms):
        super().__init__(lab, epoch_ms)
        timeout = NO_TIMEOUT if lab.virtual_time else ""
        self.process = lab.ssh_start(1, f"xl remus-spec -Fnd -i {epoch_ms} --policy {self.policy} {timeout} "
                                        f"{lab.guest} xen2 >/root/remus.log 2>&1")

    def status(self):
        entry = explain.protection(self.lab, 1, self.lab.guest)
        if entry is None:
            raise LabError("xl remus-spec has ended: " + self.lab.ssh(1, "tail -5 /root/remus.log").stdout)
        return entry["status"]

    def wait_until_protected(self):
        self.lab.wait_for(lambda: explain.protection(self.lab, 1, self.lab.guest), READY_TIMEOUT_S, "xl remus-spec")
        self.lab.wait_for(lambda: self.status().get("committed_epoch", 0) > CHECKPOINTS_BEFORE,
                          READY_TIMEOUT_S, "specrep's commits")

    def cpu_s(self):
        """What specrep-primary has used so far."""
        fields = self.lab.ssh(1, "cat /proc/$(pgrep -x specrep-primary)/stat; getconf CLK_TCK").stdout.split()
        return (int(fields[13]) + int(fields[14])) / int(fields[-1])

    def measure(self, watch):
        before_s = self.cpu_s()
        result = watch()
        result["primary_cpu_s"] = self.cpu_s() - before_s
        status = self.status()
        result["pages"] = status["pages_per_epoch"]
        result["bytes"] = status["bytes_per_epoch"]
        for figure in ("residual_pages", "residual_bytes", "speculative_pages", "wasted_pages", "samples"):
            result[figure] = status[f"{figure}_per_epoch"]
        result["parts_ms"] = [status[f"{part}_ms"] for part in PAUSE_PARTS]
        return result


class Speculative(RemusPolicy):
    name = "xl remus-spec"
    policy = "adaptive"


KINDS = {"unprotected": Unprotected, "stock": Stock, "remus": RemusPolicy, "spec": Speculative}


def start(kind, arguments, virtual_time):
    """A fresh lab with the guest under load and protected; the caller ends it."""
    lab = Lab.start(lab_dir(), arguments.guest, virtual_time, full_load=arguments.full)
    try:
        lab.push()
        for probe in ("stopwatch", "stream-count"):
            probes.install(lab, probe)
        if arguments.guest not in WORKLOADS:
            lab.ask(lab.GUEST_ADDRESSES[arguments.guest], f"dirty {LOAD_PAGES_PER_S}")
        protection = kind(lab, arguments.epoch)
        protection.wait_until_protected()
        return lab, protection
    except BaseException:
        lab.down()
        raise


def measure(kind, arguments):
    say(f"{kind.name}: pages, pauses and throughput, in {'real' if arguments.real_time else 'virtual'} time")
    lab, protection = start(kind, arguments, not arguments.real_time)
    try:
        domid = lab.ssh(1, f"xl domid {arguments.guest}").stdout.strip()

        def watch():
            before = lab.workload(READY_TIMEOUT_S) if arguments.guest in WORKLOADS else None
            result = json.loads(lab.ssh(1, f"/root/stopwatch {domid} {arguments.seconds}",
                                        timeout=READY_TIMEOUT_S).stdout)
            if before:
                after = lab.workload(READY_TIMEOUT_S)
                result["operations_per_s"] = ((after["operations"] - before["operations"])
                                              / (after["uptime_s"] - before["uptime_s"]))
            return result

        return protection.measure(watch)
    finally:
        lab.down()


def cut(kind, arguments):
    say(f"{kind.name}: power cut, in real time")
    lab, _ = start(kind, arguments, False)
    try:
        lab.power_cut(1)
        cut_s = time.monotonic()
        while time.monotonic() - cut_s < FAILOVER_TIMEOUT_S:
            if lab.domains(2) == [arguments.guest]:
                return f"{time.monotonic() - cut_s:.1f} s"
            time.sleep(0.2)
        return f"not in {FAILOVER_TIMEOUT_S} s"
    finally:
        lab.down()


def rows(measured, after_cut):
    def figure(name, text):
        return text.format(measured[name]) if name in measured else "-"

    stops = max(measured["stops"], 1)
    parts = measured.get("parts_ms")
    table = [
        ("operations per second", figure("operations_per_s", "{:.1f}")),
        ("epochs per minute", f"{60 * measured['stops'] / measured['seconds']:.1f}"),
        *[(f"CPU of {name}", f"{100 * measured[key] / measured['seconds']:.1f} %" if key in measured else "-")
          for name, key in CPU],
        ("share of time stopped", f"{100 * measured['stopped_s'] / measured['seconds']:.1f} %"),
        ("stopped per epoch", f"{1000 * measured['stopped_s'] / stops:.1f} ms"),
        *[("  " + name.replace("_", " of "), f"{parts[i]:.1f} ms" if parts else "-")
          for i, name in enumerate(PAUSE_PARTS)],
        ("pages written per epoch", figure("pages", "{:.0f}")),
        ("residual pages per epoch", figure("residual_pages", "{:.0f}")),
        ("sent early per epoch", figure("speculative_pages", "{:.0f}")),
        ("  of these in vain", figure("wasted_pages", "{:.0f}")),
        ("samples per epoch", figure("samples", "{:.1f}")),
    ]
    for name, key in (("residual per epoch", "residual_bytes"), ("total per epoch", "bytes")):
        table.append((name, f"{measured[key] / 1e3:.1f} kB" if key in measured else "-"))
    return table + ([("power cut to running guest", after_cut)] if after_cut else [])


def main():
    parser = argparse.ArgumentParser(prog="compare", description=__doc__)
    parser.add_argument("--guest", default="pvh", choices=["pvh", "hvm", *WORKLOADS])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--epoch", type=int, default=500, metavar="MS")
    parser.add_argument("--seconds", type=int, default=10, help="how long each is measured [10]")
    parser.add_argument("--full", action="store_true", help="let a workload run without pauses")
    parser.add_argument("--cut", action="store_true", help="cut the power, too")
    parser.add_argument("--real-time", action="store_true",
                        help="measure in real time: quicker, and good for nothing but a look")
    arguments = parser.parse_args()
    kinds = [KINDS[name] for name in arguments.kinds]
    columns = []
    for kind in kinds:
        measured = measure(kind, arguments)
        after_cut = None
        if arguments.cut:
            after_cut = "-" if kind is Unprotected else cut(kind, arguments)
        columns.append(rows(measured, after_cut))
    load = "" if arguments.guest in WORKLOADS else f", {LOAD_PAGES_PER_S} random pages rewritten per second"
    print(f"\nguest {arguments.guest}{load}{', full load' if arguments.full else ''}, -i {arguments.epoch}, "
          f"{arguments.seconds} s measured\n")
    print(f"{'':26}" + "".join(f"{kind.name:>16}" for kind in kinds))
    for row in zip(*columns):
        print(f"{row[0][0]:26}" + "".join(f"{value:>16}" for _, value in row))


if __name__ == "__main__":
    try:
        main()
    except (LabError, AssertionError) as error:
        sys.exit(f"compare: {error}")
