#!/usr/bin/python3
"""What output commit costs a client: round trips and a TCP stream, unprotected and protected, in one run.

In real time, since the client stands outside the emulated hosts: good for ratios, and for how the delay
follows the epoch's length.
"""

import argparse
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True

from client import COUNTER_PORT, STREAM_PORT  # noqa: E402
from common import LabError, lab_dir, say  # noqa: E402
from cuts import percentile  # noqa: E402
from lab import Lab  # noqa: E402

PAUSE_S = 0.013  # between round trips, so that they fall on all parts of an epoch
# Until TCP's windows have grown to what the round trip needs.
WARM_UP_S = 5


def round_trips(connection, seconds):
    stream, times_s = connection.makefile("rwb", buffering=0), []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        start_s = time.monotonic()
        stream.write(b"peek\n")
        stream.readline()
        times_s.append(time.monotonic() - start_s)
        time.sleep(PAUSE_S)
    return times_s


def stream_bytes_per_s(connection, seconds):
    received = 0
    start_s = time.monotonic()
    while (now_s := time.monotonic()) - start_s < WARM_UP_S + seconds:
        data = connection.recv(1 << 18)
        if now_s - start_s >= WARM_UP_S:
            received += len(data)
    return received / seconds


def client(address, seconds):
    """Runs inside the lab's namespace."""
    def connect(port):
        connection = socket.create_connection((address, port), 30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(60)
        return connection
    times_s = round_trips(connect(COUNTER_PORT), float(seconds))
    print(len(times_s), percentile(times_s, 50), percentile(times_s, 99),
          stream_bytes_per_s(connect(STREAM_PORT), float(seconds)))


def measure(lab, seconds):
    argv = lab.client_cmd([sys.executable, __file__, "--client", lab.GUEST_ADDRESSES[lab.guest], str(seconds)])
    words = subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE).stdout.split()
    return dict(zip(("count", "median_s", "p99_s", "stream"), (float(word) for word in words)))


def main():
    parser = argparse.ArgumentParser(prog="delay", description=__doc__)
    parser.add_argument("--guest", default="pvh", choices=["pvh", "hvm"])
    parser.add_argument("--epochs", type=int, nargs="+", default=[100, 200, 500], metavar="MS")
    parser.add_argument("--seconds", type=int, default=20, help="for round trips, and again for the stream [20]")
    parser.add_argument("--client", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        return client(*arguments.client)
    lab = Lab.start(lab_dir(), arguments.guest)
    rows = []
    try:
        lab.push()
        lab.ask(lab.GUEST_ADDRESSES[lab.guest], "peek")
        say("unprotected")
        plain = measure(lab, arguments.seconds)
        rows.append(("unprotected", plain, None))
        for name, options in [("-F -n -i 200", "-F -n -i 200"),
                              *((f"-i {epoch}", f"-i {epoch}") for epoch in arguments.epochs)]:
            say(name)
            with lab.protect(f"{options} --timeout 20000") as protection:
                protection.wait_until_protected()
                measured = measure(lab, arguments.seconds)
                lab.ssh(1, f"xl remus-spec-stop {lab.guest}")
                protection.end().expect(0)
                rows.append((name, measured, protection.summary()))
    finally:
        lab.down()
    print(f"\nguest {arguments.guest}; ms; a round trip and what protection adds to it; a stream's MB/s and its share of unprotected\n")
    print(f"{'':16}{'trips':>7}{'median':>9}{'99 %':>9}{'+median':>9}{'+99 %':>9}{'epoch':>8}{'pause':>8}"
          f"{'MB/s':>8}{'share':>7}")
    for name, measured, summary in rows:
        print(f"{name:16}{measured['count']:>7.0f}{1e3 * measured['median_s']:>9.1f}{1e3 * measured['p99_s']:>9.1f}"
              f"{1e3 * (measured['median_s'] - plain['median_s']):>9.1f}"
              f"{1e3 * (measured['p99_s'] - plain['p99_s']):>9.1f}"
              + (f"{summary['epoch_ms']:>8.0f}{summary['pause_ms']:>8.0f}" if summary else f"{'-':>8}{'-':>8}")
              + f"{measured['stream'] / 1e6:>8.2f}{measured['stream'] / plain['stream']:>7.2f}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"delay: {error}")
