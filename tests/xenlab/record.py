#!/usr/bin/python3
"""Records a trace of a workload on real Xen, in virtual time, on host 1 alone.

    tests/xenlab/record.py oltp --epoch 100 --epochs 250 -o tests/traces/oltp-100ms.trace

The build to record with is the lab's: SPECREP_BUILD_DIR. It takes 5 to 20 seconds for each
second of the trace; two labs (SPECREP_LAB_DIR) can record side by side.
"""

import argparse
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True

from common import LabError, build_dir, lab_dir, phase, say  # noqa: E402
from lab import Lab  # noqa: E402
from network import WORKLOADS  # noqa: E402

TIMEOUT_S = 3600


def record(workload, epoch_ms, epochs, output):
    lab = Lab.start(lab_dir(), workload, virtual_time=True, powered=[1])
    try:
        lab.push()
        # dom0 would otherwise have to wait for up to a millisecond until the guest makes room.
        lab.ssh(1, "xl sched-credit2 -s -r 100; xl sched-credit2 -d 0 -w 4096")
        before = lab.workload(TIMEOUT_S)
        with phase(f"recording {epochs} epochs of {epoch_ms} ms of {workload}"):
            lab.ssh(1, f"specrep-trace record {workload} -o /root/trace --epoch {epoch_ms} --epochs {epochs} "
                       f"--label {workload} --virtual-time 2>/root/record.log", timeout=TIMEOUT_S)
        after = lab.workload(TIMEOUT_S)
        say(f"{workload}: {after['operations'] - before['operations']} operations in "
            f"{after['uptime_s'] - before['uptime_s']:.1f} virtual seconds")
        raw = pathlib.Path(f"{output}.raw")
        with open(raw, "wb") as file:
            subprocess.run(lab.ssh_argv(1, "cat /root/trace"), stdout=file, check=True)
        subprocess.run([build_dir() / "tools/specrep-trace", "pack", raw, "-o", output], check=True)
        raw.unlink()
    finally:
        lab.down()


def main():
    parser = argparse.ArgumentParser(prog="record", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--epoch", type=int, default=100, metavar="MS")
    parser.add_argument("--epochs", type=int, default=250, metavar="N")
    parser.add_argument("-o", "--output", required=True, metavar="FILE")
    arguments = parser.parse_args()
    record(arguments.workload, arguments.epoch, arguments.epochs, arguments.output)


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        sys.exit(f"record: {error}")
