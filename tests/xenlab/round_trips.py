#!/usr/bin/python3
"""Asks a counter guest, one request after the other, and reads TCP streams of it; prints both as JSON.

Runs where Python does, without anything else of the lab: outside the hosts, or in a dom0.
"""

import argparse
import json
import select
import socket
import time

PAUSE_S = 0.013  # between round trips, so that they fall on all parts of an epoch
# Until TCP's windows have grown to what the round trip needs.
WARM_UP_S = 5


def connect(address, port):
    connection = socket.create_connection((address, port), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(60)
    return connection


def round_trips_s(connection, seconds):
    stream, times_s = connection.makefile("rwb", buffering=0), []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        start_s = time.monotonic()
        stream.write(b"peek\n")
        stream.readline()
        times_s.append(time.monotonic() - start_s)
        time.sleep(PAUSE_S)
    return times_s


def stream_bytes_per_s(connections, seconds):
    received = 0
    start_s = time.monotonic()
    while (now_s := time.monotonic()) - start_s < WARM_UP_S + seconds:
        for connection in select.select(connections, [], [], 1)[0]:
            data = connection.recv(1 << 18)
            if now_s - start_s >= WARM_UP_S:
                received += len(data)
    for connection in connections:
        connection.close()
    return received / seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("counter_port", type=int)
    parser.add_argument("stream_port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("streams", type=int, nargs="+", help="how many at once")
    arguments = parser.parse_args()
    address, seconds = arguments.address, arguments.seconds
    print(json.dumps({
        "round_trips_s": round_trips_s(connect(address, arguments.counter_port), seconds),
        "stream_bytes_per_s": [
            stream_bytes_per_s([connect(address, arguments.stream_port) for _ in range(count)], seconds)
            for count in arguments.streams]}))
