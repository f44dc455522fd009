#!/usr/bin/python3
"""What output commit costs a client: round trips and TCP streams, unprotected and protected, in one run.

In real time the client stands outside the emulated hosts, and a pause is that of emulated processors. In
virtual time, where pauses are short, it stands in host 1's dom0, since both have to have one clock; what
the guest sends to it passes the same buffer.
"""

import argparse
import json
import pathlib
import shlex
import subprocess
import sys

sys.dont_write_bytecode = True

from client import COUNTER_PORT, STREAM_PORT  # noqa: E402
from common import LabError, lab_dir, say  # noqa: E402
from compare import NO_TIMEOUT, READY_TIMEOUT_S  # noqa: E402
from cuts import percentile  # noqa: E402
from lab import Lab  # noqa: E402

CLIENT = pathlib.Path(__file__).with_name("round_trips.py")
STREAMS = (1, 8)  # at once
# Nobody's, for the client in dom0.
DOM0_ADDRESS = "192.168.88.252/24"


def run_client(lab, seconds):
    words = [lab.GUEST_ADDRESSES[lab.guest], str(COUNTER_PORT), str(STREAM_PORT), str(seconds), *map(str, STREAMS)]
    if lab.virtual_time:
        command = f"python3 -c {shlex.quote(CLIENT.read_text())} {shlex.join(words)}"
        return lab.ssh(1, command, timeout=READY_TIMEOUT_S).stdout
    argv = lab.client_cmd([sys.executable, str(CLIENT), *words])
    return subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE).stdout


def measure(lab, seconds):
    measured = json.loads(run_client(lab, seconds))
    times_s = measured["round_trips_s"]
    return {"count": len(times_s), "median_s": percentile(times_s, 50), "p99_s": percentile(times_s, 99),
            "streams": measured["stream_bytes_per_s"]}


def main():
    parser = argparse.ArgumentParser(prog="delay", description=__doc__)
    parser.add_argument("--guest", default="pvh", choices=["pvh", "hvm"])
    parser.add_argument("--epochs", type=int, nargs="+", default=[100, 200, 500], metavar="MS")
    parser.add_argument("--seconds", type=int, default=20, help="for round trips, and for each number of streams [20]")
    parser.add_argument("--virtual-time", action="store_true", help="measure in virtual time")
    arguments = parser.parse_args()
    timeout = NO_TIMEOUT if arguments.virtual_time else "--timeout 20000"
    lab = Lab.start(lab_dir(), arguments.guest, arguments.virtual_time)
    rows = []
    try:
        lab.push()
        lab.ask(lab.GUEST_ADDRESSES[lab.guest], "peek", READY_TIMEOUT_S)
        if arguments.virtual_time:
            lab.ssh(1, f"ip address add {DOM0_ADDRESS} dev xenbr0")
        say("unprotected")
        plain = measure(lab, arguments.seconds)
        rows.append(("unprotected", plain, None))
        for name, options in [("-F -n -i 200", "-F -n -i 200"),
                              *((f"-i {epoch}", f"-i {epoch}") for epoch in arguments.epochs)]:
            say(name)
            with lab.protect(f"{options} {timeout}") as protection:
                protection.wait_until_protected(READY_TIMEOUT_S)
                measured = measure(lab, arguments.seconds)
                lab.ssh(1, f"xl remus-spec-stop {lab.guest}")
                protection.end(READY_TIMEOUT_S).expect(0)
                rows.append((name, measured, protection.summary()))
    finally:
        lab.down()
    print(f"\nguest {arguments.guest}; {'virtual' if arguments.virtual_time else 'real'} time; ms; a round trip, and MB/s of "
          f"{' and '.join(map(str, STREAMS))} TCP\nstreams at once; what protection adds, and leaves\n")
    print(f"{'':14}{'trips':>6}{'median':>8}{'99 %':>7}{'added':>7}{'99 %':>7}{'epoch':>7}{'pause':>6}"
          + f"{'MB/s':>7}{'share':>6}" * len(STREAMS))
    for name, measured, summary in rows:
        print(f"{name:14}{measured['count']:>6.0f}{1e3 * measured['median_s']:>8.1f}{1e3 * measured['p99_s']:>7.1f}"
              f"{1e3 * (measured['median_s'] - plain['median_s']):>7.1f}"
              f"{1e3 * (measured['p99_s'] - plain['p99_s']):>7.1f}"
              + (f"{summary['epoch_ms']:>7.0f}{summary['pause_ms']:>6.0f}" if summary else f"{'-':>7}{'-':>6}")
              + "".join(f"{1e-6 * mine:>7.1f}{mine / whole:>6.2f}"
                        for mine, whole in zip(measured["streams"], plain["streams"])))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"delay: {error}")
