#!/usr/bin/python3
"""A client that asks a guest for each thing once, over UDP: a request or a reply that is lost on its way does not
come again.

Run as a program in the lab's namespace: once.py STREAM ADDRESS INTERVAL_MS LOG_FILE. It logs a line
"MONOTONIC_NS NUMBER" for each reply, and at last "sent NUMBER", the newest request.
"""

import pathlib
import socket
import subprocess
import sys
import threading
import time

from client import COUNTER_PORT, ask

ASK_TIMEOUT_S = 60
NEIGHBOUR_PROBES = 60  # one a second
# What was on its way when the client ended has arrived by then.
ARRIVED_S = 1


class Once:
    """A running client. Use it as a context manager."""

    def __init__(self, network, address, log_file, interval_ms=25):
        self._network, self._address = network, address
        self._log_file = pathlib.Path(log_file)
        self._log_file.write_text("")
        # After three probes without an answer the client's own kernel would drop what is sent: an emulated guest that
        # is moved is silent for longer.
        for probes in ("ucast_solicit", "mcast_solicit"):
            subprocess.run(network.inside(["sysctl", "-qw", f"net.ipv4.neigh.guest.{probes}={NEIGHBOUR_PROBES}"]),
                           check=True)
        self._stream = f"once-{time.monotonic_ns()}"
        self._process = subprocess.Popen(
            network.inside([sys.executable, __file__, self._stream, address, interval_ms, log_file]),
            stdin=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()

    def lost(self):
        """Ends the asking. Returns what was lost, ["request 7", "reply to 9"], and how many replies came."""
        self._process.stdin.close()
        self._process.wait()
        *replies, last = (line.split() for line in self._log_file.read_text().splitlines())
        assert last[0] == "sent", last
        came = [int(number) for _, number in replies]
        recorded = ask(self._network, self._address, f"recorded {self._stream}", ASK_TIMEOUT_S)
        answered = {int(entry.split(":")[0]) for entry in recorded.split()}
        assert len(came) == len(set(came)), "a reply came twice"
        missing = sorted(set(range(1, int(last[1]) + 1)) - set(came))
        return [f"{'reply to' if number in answered else 'request'} {number}" for number in missing], len(came)


def main(stream, address, interval_ms, log_path):
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.connect((address, COUNTER_PORT))
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()

    def log_replies():
        with open(log_path, "a", buffering=1) as log:
            while True:
                try:
                    _, number, _ = wire.recv(2048).split()
                except OSError:  # no way to the guest for the moment
                    continue
                log.write(f"{time.monotonic_ns()} {int(number)}\n")

    threading.Thread(target=log_replies, daemon=True).start()
    number = 0
    while not ended.is_set():
        number += 1
        try:
            wire.send(f"request {stream} {number}".encode())
        except OSError:
            pass
        time.sleep(float(interval_ms) / 1000)
    time.sleep(ARRIVED_S)
    with open(log_path, "a") as log:
        log.write(f"sent {number}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
