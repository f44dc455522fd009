#!/usr/bin/python3
"""Stands outside both hosts, at the wires of both to the guests' network, and tells which of them the
guest's frames come from. Meanwhile it asks the guest things, at both wires: a copy that runs where
nobody expects it, and may send, answers.

Run as a program in the lab's namespace: observer.py GUEST_MAC GUEST_ADDRESS LOG_FILE. It logs a line
"MONOTONIC_NS HOST ETHERTYPE" for each frame until its standard input ends, then "# end".
"""

import collections
import contextlib
import ctypes
import dataclasses
import itertools
import select
import socket
import struct
import subprocess
import sys
import time

from frames import ASK_INTERVAL_S, NAMES, arp_request, neighbour_solicitation, ping4
from network import HOSTS, tap

ETH_P_ALL = 3
SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33
SOL_PACKET, PACKET_STATISTICS = 263, 6
BUFFER_BYTES = 4 << 20
HEADER_BYTES = 14
TURNS_SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Frame:
    time_ns: int  # time.monotonic_ns() of when it was looked at; frames are in the order in which they came
    host: int
    ethertype: str


class Observer:
    """A running observer. Use it as a context manager."""

    def __init__(self, network, mac, address, log_file):
        self._log_file = log_file
        self._process = subprocess.Popen(
            network.inside([sys.executable, __file__, mac, address, log_file]),
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == "watching\n", "the observer did not start"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def frames(self):
        """Ends the watch, and returns all that was seen."""
        self._process.stdin.close()
        self._process.wait()
        lines = self._log_file.read_text().splitlines()
        assert self._process.returncode == 0 and lines[-1] == "# end", "the observer did not see everything"
        return [Frame(int(time_ns), int(host), ethertype)
                for time_ns, host, ethertype in (line.split() for line in lines[:-1])]

    def check_one_speaker(self, goes_on_at):
        """Ends the watch; asserts that host 1 alone sent, then host 2 alone if the guest goes on there."""
        frames = self.frames()
        turns = [next(turn) for _, turn in itertools.groupby(frames, lambda frame: frame.host)]
        expected = list(range(1, goes_on_at + 1))
        assert [turn.host for turn in turns] == expected, (
            f"frames should have come from hosts {expected}, one after the other, and came "
            + ", then ".join(f"from host {turn.host} after {(turn.time_ns - frames[0].time_ns) / 1e9:.2f} s "
                             f"({turn.ethertype})" for turn in turns[:TURNS_SHOWN]))


def only_from(wire, mac):
    """Lets the kernel hand over nothing but frames with this source that come in from a card.

    The socket hears every network of the lab; what the bridge sends on to the other host is outgoing there.
    """
    # Classic BPF: code, jump if true, jump if false, operand.
    program = [
        (0x20, 0, 0, 0xFFFFF004),  # load the packet's type (SKF_AD_OFF + SKF_AD_PKTTYPE)
        (0x15, 5, 0, socket.PACKET_OUTGOING),
        (0x20, 0, 0, 6),  # load the first four bytes of the source
        (0x15, 0, 3, int.from_bytes(mac[:4], "big")),
        (0x28, 0, 0, 10),  # the other two
        (0x15, 0, 1, int.from_bytes(mac[4:], "big")),
        (0x06, 0, 0, HEADER_BYTES),  # take so much of it
        (0x06, 0, 0, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    wire.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(code)))


def main(mac_text, address, log_path):
    mac = bytes.fromhex(mac_text.replace(":", ""))
    # One socket for both wires, so that frames keep their order.
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    wire.setblocking(False)
    only_from(wire, mac)
    # What came before the filter was there, and whether any was dropped.
    collections.deque(received(wire), 0)
    dropped_frames(wire)
    hosts = {tap("guest", host): host for host in HOSTS}
    ask_s, number = 0, 0
    with open(log_path, "w") as log:
        print("watching", flush=True)
        ended = False
        while not ended:
            if time.monotonic() >= ask_s:
                ask_s, number = time.monotonic() + ASK_INTERVAL_S, number + 1
                for interface in hosts:
                    for question in (arp_request(address), ping4(mac, address, number), neighbour_solicitation(mac)):
                        with contextlib.suppress(OSError):  # a host without power takes nothing
                            wire.sendto(question, (interface, 0))
            ended = sys.stdin in select.select([wire, sys.stdin], [], [], ASK_INTERVAL_S)[0]
            for data, source in received(wire):
                if source[0] in hosts:
                    ethertype = struct.unpack("!H", data[12:14])[0]
                    log.write(f"{time.monotonic_ns()} {hosts[source[0]]} {NAMES.get(ethertype, hex(ethertype))}\n")
        dropped = dropped_frames(wire)
        if dropped:
            return f"observer: {dropped} frames came too fast"
        log.write("# end\n")
    return 0


def received(wire):
    """What waits at the socket."""
    while True:
        try:
            yield wire.recvfrom(HEADER_BYTES)
        except BlockingIOError:
            return


def dropped_frames(wire):
    """How many frames the socket had no room for since it was asked last."""
    return struct.unpack("II", wire.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
