#!/usr/bin/python3
"""The client of the guests' counter: the process that talks to it, and the object that a test holds.

Run as a program (inside the lab's namespace, so outside both hosts) it keeps one
TCP connection, sends "next" at an interval, waits for each answer, and logs a line
"MONOTONIC_NS VALUE" for it. It never reconnects by itself: a connection that a
failover breaks is a failure. Lines on its standard input steer it: "reconnect",
or anything else, which it sends to the guest as it is.
"""

import dataclasses
import pathlib
import queue
import socket
import subprocess
import sys
import threading
import time

COUNTER_PORT = 7
STREAM_PORT = 10
POWER_PORT = 8
CONNECT_TIMEOUT_S = 60
# While a guest is awaited: TCP alone repeats an unanswered SYN only after 1 s, 3 s, 7 s. A protected guest's answer
# waits for its commit, and a busy machine takes seconds for that.
CONNECT_TRY_S = 4
RETRY_INTERVAL_S = 0.1

# Linux 6.15 and later: how far TCP's retransmission timer may back off. Without it
# the client could take longer to notice that a guest is back than the outage took.
TCP_RTO_MAX_MS = 44
RTO_MAX_MS = 1000
# Linux gives an unanswered segment up after 15 tries, which take 15 minutes, but 15 seconds with that timer.
GIVE_UP_MS = 924_600


class NoAnswer(AssertionError):
    """The guest's counter did not answer in time."""


def ask(network, address, line, timeout_s, port=COUNTER_PORT):
    """Sends one line over a connection of its own and returns the answer; tries until timeout_s is over."""
    argv = network.inside([sys.executable, __file__, "ask", address, port, line, timeout_s])
    done = subprocess.run(argv, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise NoAnswer(f"{address} port {port} did not answer {line!r} within {timeout_s} s")
    return done.stdout.strip()


@dataclasses.dataclass(frozen=True)
class Answer:
    time_ns: int  # time.monotonic_ns() when it came; the same clock in all processes
    value: int


class Counter:
    """A running client. Use it as a context manager, or call stop()."""

    def __init__(self, network, address, log_file, interval_ms=50):
        self.address = address
        self._network = network
        self._log_file = pathlib.Path(log_file)
        self._log_file.write_text("")
        self._process = subprocess.Popen(
            network.inside([sys.executable, __file__, "run", address, interval_ms, self._log_file]),
            text=True, stdin=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()

    def reconnect(self):
        """Lets go of the connection, even while an answer is awaited, and makes a new one."""
        self._steer("reconnect")

    def dirty(self, pages_per_s):
        """Puts the guest under load: it rewrites that many random pages a second; 0 stops it."""
        self._steer(f"dirty {pages_per_s}")

    def answers(self):
        """All answers so far, oldest first."""
        words = [line.split() for line in self._lines() if not line.startswith("#")]
        return [Answer(int(time_ns), int(value)) for time_ns, value in words]

    def troubles(self):
        """What happened to the connection so far, one text each; empty if nothing did."""
        return [line[1:].strip() for line in self._lines() if line.startswith("#")]

    def last_value(self):
        """The latest value, or 0 if there is none yet."""
        answers = self.answers()
        return answers[-1].value if answers else 0

    def longest_gap_s(self, since_ns=0):
        """The longest time between two answers, the time since the last one included."""
        times_ns = [answer.time_ns for answer in self.answers() if answer.time_ns >= since_ns]
        times_ns.append(time.monotonic_ns())
        return max((b - a for a, b in zip(times_ns, times_ns[1:])), default=0) / 1e9

    def next_answer_after(self, time_ns):
        """The first answer that came after a time.monotonic_ns(), or None."""
        return next((answer for answer in self.answers() if answer.time_ns > time_ns), None)

    def wait_for_answer(self, timeout_s, after_ns=None):
        """Waits for the first answer after a time (by default: now) and returns it."""
        after_ns = time.monotonic_ns() if after_ns is None else after_ns
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            answer = self.next_answer_after(after_ns)
            if answer:
                return answer
            time.sleep(0.02)
        raise NoAnswer(f"the counter at {self.address} gave no answer for {timeout_s} s; "
                       f"connection: {self.troubles() or 'no error'}")

    def check_continuous(self):
        """Asserts that every answer is the one before plus one: nothing lost, nothing given twice."""
        values = [answer.value for answer in self.answers()]
        for before, after in zip(values, values[1:]):
            assert after == before + 1, f"the counter at {self.address} answered {after} after {before}"

    def _lines(self):
        text = self._log_file.read_text()
        return text[:text.rfind("\n") + 1].splitlines()

    def _steer(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


def wait_out_failovers(connection):
    """Has a TCP connection neither give up while its other end is silent, nor take long to notice that it is back."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GIVE_UP_MS)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, RTO_MAX_MS)
    except OSError:
        pass  # an older kernel: gaps are then measured less exactly
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GIVE_UP_MS)


class Connection:
    """One TCP connection to the guest, line by line."""

    def __init__(self, address, port, timeout_s):
        self._socket = socket.create_connection((address, port), timeout=timeout_s)
        wait_out_failovers(self._socket)
        self._lines = self._socket.makefile("r")

    def set_timeout(self, timeout_s):
        self._socket.settimeout(timeout_s)

    def ask(self, line):
        self._socket.sendall(line.encode() + b"\n")
        answer = self._lines.readline()
        if not answer:
            raise ConnectionError("closed by the guest")
        return answer.strip()

    def break_off(self):
        """Makes an ask() that another thread waits in fail."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self._lines.close()
        self._socket.close()


def connect(address, port, timeout_s):
    """Connects, trying until timeout_s is over; None if it never worked."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        try:
            connection = Connection(address, port, CONNECT_TRY_S)
            connection.set_timeout(CONNECT_TIMEOUT_S)
            return connection
        except OSError:
            time.sleep(RETRY_INTERVAL_S)
    return None


def main_ask(address, port, line, timeout_s):
    connection = connect(address, int(port), float(timeout_s))
    if connection is None:
        return 1
    try:
        # A workload's guest has more to do than to answer; in virtual time that can take many seconds.
        connection.set_timeout(float(timeout_s))
        print(connection.ask(line))
    except OSError:
        # A guest that powers off or crashes as asked has no answer to give.
        return 0 if int(port) == POWER_PORT else 1
    return 0


class Orders:
    """The lines on standard input. "reconnect" also ends a wait for an answer that will never come."""

    def __init__(self):
        self._lines = queue.Queue()
        self.connection = None
        threading.Thread(target=self._read, daemon=True).start()

    def get(self, timeout_s=None):
        return self._lines.get(timeout=timeout_s)

    def _read(self):
        for line in sys.stdin:
            connection = self.connection
            self._lines.put(line.strip())
            if line.strip() == "reconnect" and connection:
                connection.break_off()


def main_run(address, interval_ms, log_path):
    orders = Orders()
    with open(log_path, "a", buffering=1) as log:
        while True:
            try:
                _count(address, float(interval_ms) / 1000, log, orders)
            except OSError as error:
                log.write(f"# {time.monotonic_ns()} {error}\n")
                orders.connection = None
                while orders.get() != "reconnect":
                    pass


def _count(address, interval_s, log, orders):
    """Asks for the next value at each interval; returns when it is told to reconnect."""
    connection = Connection(address, COUNTER_PORT, CONNECT_TIMEOUT_S)
    connection.set_timeout(None)
    orders.connection = connection
    next_s = time.monotonic()
    while True:
        value = connection.ask("next")
        log.write(f"{time.monotonic_ns()} {value}\n")
        next_s = max(next_s + interval_s, time.monotonic())
        try:
            order = orders.get(max(next_s - time.monotonic(), 0.001))
        except queue.Empty:
            continue
        if order == "reconnect":
            orders.connection = None
            connection.close()
            return
        connection.ask(order)


if __name__ == "__main__":
    sys.exit({"ask": main_ask, "run": main_run}[sys.argv[1]](*sys.argv[2:]) or 0)
