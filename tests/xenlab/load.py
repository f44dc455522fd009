"""A client outside both hosts that has a guest write over several connections, and logs what was acknowledged.

Its process appends a line "MONOTONIC_NS CONNECTION NUMBER" to the log for each acknowledgement, and a line
"# CONNECTION TEXT" when a connection is over. It never reconnects: a connection that a failover breaks is a failure.
"""

import collections
import pathlib
import subprocess
import sys
import threading
import time

POLL_S = 0.1


class Load:
    """A running client. Use it as a context manager, or call stop().

    `connections` are the names of those that must all go on.
    """

    def __init__(self, network, address, connections, log_file, program, *arguments):
        self.address = address
        self.connections = tuple(connections)
        self._network = network
        self._log_file = pathlib.Path(log_file)
        self._log_file.write_text("")
        self._process = subprocess.Popen(
            network.inside([sys.executable, program, "run", address, *arguments, log_file]), stdin=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._process.kill()
        self._process.wait()

    def acknowledged(self):
        """{connection: the numbers that the guest has acknowledged, oldest first}."""
        numbers = {connection: [] for connection in self.connections}
        for _, connection, number in self._acknowledgements():
            numbers[connection].append(number)
        return numbers

    def troubles(self):
        """What happened to a connection, or what the guest could not write; one text each."""
        return [line[1:].strip() for line in self._lines() if line.startswith("#")]

    def wait_for_all(self, timeout_s, after_ns=None):
        """Waits until each connection has been acknowledged after a time (by default: now)."""
        after_ns = time.monotonic_ns() if after_ns is None else after_ns
        deadline_s = time.monotonic() + timeout_s
        while True:
            silent = set(self.connections) - set(self.first_after(after_ns))
            if not silent:
                return
            assert not self.troubles(), f"a connection's trouble: {self.troubles()}"
            assert time.monotonic() < deadline_s, f"nothing acknowledged for {timeout_s} s: {sorted(silent)}"
            time.sleep(POLL_S)

    def first_after(self, time_ns):
        """{connection: when it first had an acknowledgement after that time}, as time.monotonic_ns()."""
        first = {}
        for at_ns, connection, _ in self._acknowledgements():
            if at_ns > time_ns:
                first.setdefault(connection, at_ns)
        return first

    def longest_gap_s(self, since_ns=0):
        """The longest time without an acknowledgement: the longest of all connections, until now."""
        times_ns = collections.defaultdict(list)
        for time_ns, connection, _ in self._acknowledgements():
            if time_ns >= since_ns:
                times_ns[connection].append(time_ns)
        now_ns = time.monotonic_ns()
        return max(b - a for connection in self.connections
                   for a, b in zip([since_ns or now_ns, *times_ns[connection]], [*times_ns[connection], now_ns])) / 1e9

    def _acknowledgements(self):
        words = [line.split() for line in self._lines() if not line.startswith("#")]
        return [(int(time_ns), connection, int(number)) for time_ns, connection, number in words]

    def _lines(self):
        text = self._log_file.read_text()
        return text[:text.rfind("\n") + 1].splitlines()


def follow_all(follow, connections, log_path):
    """The client's process: calls follow(connection, log) for each in a thread. log() appends a line of words."""
    with open(log_path, "a") as file:
        turn = threading.Lock()

        def log(*words):
            with turn:
                print(*words, file=file, flush=True)

        threads = [threading.Thread(target=follow, args=(connection, log)) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
