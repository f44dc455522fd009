#!/usr/bin/python3
"""A witness outside both hosts: whatever it has got from a guest, the guest must still know after a failure.

Run as a program in the lab's namespace, it asks the guest all the time, over each stream apart: requests over TCP
and UDP, which the guest records (guest/counter.cpp), and pings; all over IPv4 and IPv6, and at each of its cards.
A request that is not answered is repeated, by TCP or, for UDP, here. Each reply, and each frame that the guest's
cards send, becomes a line of the log:
  MONOTONIC_NS STREAM NUMBER COUNT    a reply: to which request, and how many were recorded with it
  MONOTONIC_NS STREAM NUMBER          the reply to a ping
  MONOTONIC_NS frame TAP KIND         a frame from host N, at tap guestN
  MONOTONIC_NS trouble STREAM TEXT    the stream has ended
"""

import collections
import itertools
import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import time

from client import CONNECT_TIMEOUT_S, COUNTER_PORT, Connection, ask
from frames import checksum, kind_of
from network import HOSTS, card_address, ipv6_address, tap

REQUESTS = ("tcp4", "tcp6", "udp4", "udp6")
PINGS = ("ping4", "ping6")
# A stream's name has the card before that: eth0-tcp4.
REPEAT_S = 0.25
# Of the record at the end.
ASK_TIMEOUT_S = 60
POLL_S = 0.2
RECEIVE_BYTES = 65536
ECHO_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
ECHO_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}


class Witness:
    """A running witness of the guest at `address`, whose cards have `macs`. Use it as a context manager."""

    def __init__(self, network, address, macs, log_file, interval_ms=50):
        self.address = address
        self._requests, pings = ([f"eth{card}-{kind}" for card in range(len(macs)) for kind in kinds]
                                 for kinds in (REQUESTS, PINGS))
        self._streams = self._requests + pings
        self._network = network
        self._log_file = pathlib.Path(log_file)
        self._log_file.write_text("")
        self._name = str(time.monotonic_ns())  # so that the guest's record tells it from others
        self._process = subprocess.Popen(
            network.inside([sys.executable, __file__, self._name, address, ",".join(macs), interval_ms, log_file]),
            stdin=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def wait_for_replies(self, timeout_s, after_ns=None):
        """Waits until each stream has got a reply after a time (by default: now); returns those that have not."""
        after_ns = time.monotonic_ns() if after_ns is None else after_ns
        deadline_s = time.monotonic() + timeout_s
        # A stream that has ended is not waited for.
        while set(self._silent(after_ns)) - set(self._troubles()) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        return self._silent(after_ns)

    def failures(self):
        """Of what it has got, {stream: the first thing that the guest, by its own record, does not explain}."""
        replies = collections.defaultdict(list)
        # Read before the guest is asked: all of this it must know.
        for words in self._lines():
            if words[1] in self._requests:
                replies[words[1]].append((int(words[2]), int(words[3])))
        failures = self._troubles()
        for stream, seen in replies.items():
            recorded = ask(self._network, self.address, f"recorded {stream}-{self._name}", ASK_TIMEOUT_S)
            counts = dict(map(int, entry.split(":")) for entry in recorded.split())
            unknown = [(number, count) for number, count in seen if counts.get(number) != count]
            if unknown:
                number, count = unknown[0]
                failures[stream] = (f"{len(unknown)} of {len(seen)} replies are not in the guest's record, the first: "
                                    f"request {number}, count {count}, and the guest has {counts.get(number)}")
                continue
            in_order = sorted(seen)
            if any(later < earlier for (_, earlier), (_, later) in zip(in_order, in_order[1:])):
                failures[stream] = "a later request has a lower count"
        return failures

    def check(self):
        """Asserts that the guest explains all that was got from it."""
        failures = self.failures()
        assert not failures, f"what was seen of the guest is lost: {failures}"

    def longest_gaps_s(self):
        """Of each stream, the longest time between two replies."""
        times_ns = collections.defaultdict(list)
        for words in self._lines():
            if words[1] in self._streams:
                times_ns[words[1]].append(int(words[0]))
        return {stream: max((b - a for a, b in zip(of, of[1:])), default=0) / 1e9 for stream, of in times_ns.items()}

    def frames(self, after_ns=0):
        """How many frames the guest's cards sent after a time: {tap: {kind: number}}, with frames.kind_of()'s kinds."""
        frames = {tap("guest", host): collections.Counter() for host in HOSTS}
        for words in self._lines():
            if words[1] == "frame" and int(words[0]) > after_ns:
                frames[words[2]][words[3]] += 1
        return frames

    def _silent(self, after_ns):
        answered = {words[1] for words in self._lines() if int(words[0]) > after_ns}
        return [stream for stream in self._streams if stream not in answered]

    def _lines(self):
        text = self._log_file.read_text()
        return [line.split() for line in text[:text.rfind("\n") + 1].splitlines()]

    def _troubles(self):
        return {words[2]: " ".join(words[3:]) for words in self._lines() if words[1] == "trouble"}


def follow_tcp(stream, address, interval_s, log):
    connection = Connection(address, COUNTER_PORT, CONNECT_TIMEOUT_S)
    connection.set_timeout(None)
    for number in itertools.count(1):
        _, *answer = connection.ask(f"request {stream} {number}").split()
        log(*answer)
        time.sleep(interval_s)


def follow_udp(stream, address, interval_s, log):
    wire = socket.socket(family_of(address), socket.SOCK_DGRAM)
    wire.connect((address, COUNTER_PORT))
    for number in itertools.count(1):
        answered, repeat_s = 0, 0.0
        while answered != number:
            try:
                # A late reply to what was repeated must not bring a repetition of this one.
                if time.monotonic() >= repeat_s:
                    wire.send(f"request {stream} {number}".encode())
                    repeat_s = time.monotonic() + REPEAT_S
                wire.settimeout(max(repeat_s - time.monotonic(), 0.001))
                _, *answer = wire.recv(RECEIVE_BYTES).decode().split()
            except TimeoutError:
                continue
            except OSError:  # no way to the guest for the moment
                time.sleep(REPEAT_S)
                continue
            log(*answer)
            answered = int(answer[0])
        time.sleep(interval_s)


def follow_ping(_, address, interval_s, log):
    family = family_of(address)
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    wire = socket.socket(family, socket.SOCK_RAW, protocol)
    wire.connect((address, 0))
    identifier = os.getpid() & 0xFFFF
    for number in itertools.count(1):
        ping = struct.pack("!BBHHH", ECHO_REQUEST[family], 0, 0, identifier, number & 0xFFFF)
        if family == socket.AF_INET:  # else the kernel does it
            ping = ping[:2] + struct.pack("!H", checksum(ping)) + ping[4:]
        end_s = time.monotonic() + interval_s
        try:
            wire.send(ping)
            while (left_s := end_s - time.monotonic()) > 0:
                wire.settimeout(left_s)
                packet = wire.recv(RECEIVE_BYTES)
                header_bytes = 4 * (packet[0] & 0xF) if family == socket.AF_INET else 0
                kind, _, _, of, answered = struct.unpack_from("!BBHHH", packet, header_bytes)
                if (kind, of) == (ECHO_REPLY[family], identifier):
                    log(answered)
        except TimeoutError:
            pass
        except OSError:  # no way to the guest for the moment
            time.sleep(interval_s)


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


FOLLOW = {"tcp": follow_tcp, "udp": follow_udp, "ping": follow_ping}


def follow(stream, name, kind, address, interval_s, log):
    try:
        FOLLOW[kind[:-1]](f"{stream}-{name}", address, interval_s, lambda *answer: log(stream, *answer))
    except OSError as error:
        log("trouble", stream, error)


def log_frames(macs, log):
    taps = {tap("guest", host) for host in HOSTS}
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
    while True:
        data, source = wire.recvfrom(RECEIVE_BYTES)
        # A frame also comes past where it leaves the bridge again.
        if source[0] in taps and source[2] != socket.PACKET_OUTGOING and data[6:12] in macs:
            log("frame", source[0], kind_of(data))


def main(name, address, macs, interval_ms, log_path):
    macs = [bytes.fromhex(mac.replace(":", "")) for mac in macs.split(",")]
    with open(log_path, "a") as file:
        turn = threading.Lock()

        def log(*words):
            with turn:
                print(time.monotonic_ns(), *words, file=file, flush=True)

        for card, kind in itertools.product(range(len(macs)), REQUESTS + PINGS):
            ipv4 = card_address(address, card)
            to = ipv6_address(ipv4) if kind.endswith("6") else ipv4
            # More cards are not to be more load.
            interval_s = len(macs) * float(interval_ms) / 1000
            arguments = (f"eth{card}-{kind}", name, kind, to, interval_s, log)
            threading.Thread(target=follow, args=arguments, daemon=True).start()
        log_frames(macs, log)


if __name__ == "__main__":
    main(*sys.argv[1:])
