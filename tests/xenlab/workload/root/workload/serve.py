"""The guest's first process: starts one workload, and tells on port 7 how much of it is done.

The kernel's command line has workload=NAME and rate=OPERATIONS_PER_S, 0 for as many as possible.
"""

import importlib
import json
import os
import signal
import socket
import sys
import time

from common import Count

PORT = 7
CLIENT_TIMEOUT_S = 5


def main():
    with open("/proc/cmdline") as file:
        words = dict(word.split("=", 1) for word in file.read().split() if "=" in word)
    name, rate = words["workload"], float(words["rate"])
    count = Count()
    listener = socket.create_server(("", PORT))
    importlib.import_module(name).start(rate, count)
    start_s = time.monotonic()
    while True:
        try:
            answer(listener, {"workload": name, "rate": rate, "running_s": time.monotonic() - start_s}, count)
        except OSError as error:
            print(f"serve: {error}", flush=True)
        reap()


def answer(listener, facts, count):
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(CLIENT_TIMEOUT_S)
        facts |= {"operations": count.total(), "uptime_s": uptime_s(), **cpu_s(), **memory_kib()}
        connection.sendall(json.dumps(facts).encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)
        # Closed with something unread, it would take the answer back.
        while connection.recv(100):
            pass


def uptime_s():
    with open("/proc/uptime") as file:
        return float(file.read().split()[0])


def cpu_s():
    """How long the CPU was busy, waited for the disk, and was taken by others, since boot."""
    with open("/proc/stat") as file:
        user, nice, system, idle, iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    return {"cpu_busy_s": (user + nice + system + irq + softirq) / ticks, "cpu_idle_s": idle / ticks,
            "cpu_iowait_s": iowait / ticks, "cpu_steal_s": steal / ticks}


def memory_kib():
    with open("/proc/meminfo") as file:
        lines = dict(line.split(":", 1) for line in file)
    return {"memory_free_kib": int(lines["MemFree"].split()[0]),
            "memory_available_kib": int(lines["MemAvailable"].split()[0])}


def reap():
    """Takes leave of processes that have ended: the first process inherits them."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.dont_write_bytecode = True
    main()
