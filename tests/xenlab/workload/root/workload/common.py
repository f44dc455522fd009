"""What the workloads share: services, paced clients, and the count of what they have done."""

import http.client
import math
import mmap
import os
import pwd
import random
import re
import struct
import subprocess
import sys
import threading
import time
import traceback

SLOT_BYTES = 8
SLOTS = mmap.PAGESIZE // SLOT_BYTES
# A client that is late by more forgets what it has missed, so that it does not catch up for ever.
LATE_MAX_S = 1.0
START_TIMEOUT_S = 600
POLL_S = 0.05
# Of one file, so that no single one is most of the material.
SOURCE_BYTES_MAX = 1 << 20


class Count:
    """Operations finished, counted by any number of processes, each in a slot of its own."""

    def __init__(self):
        self._memory = mmap.mmap(-1, SLOTS * SLOT_BYTES)

    def add(self, slot, operations=1):
        at = slot * SLOT_BYTES
        before, = struct.unpack_from("q", self._memory, at)
        struct.pack_into("q", self._memory, at, before + operations)

    def total(self):
        return sum(struct.unpack(f"{SLOTS}q", self._memory))


def service(argv, user="root", folder="/", **options):
    """Starts a server that stays in the foreground."""
    entry = pwd.getpwnam(user)
    return subprocess.Popen([str(word) for word in argv], cwd=folder, user=entry.pw_uid, group=entry.pw_gid,
                            extra_groups=os.getgrouplist(user, entry.pw_gid), stdin=subprocess.DEVNULL, **options)


def folder_for(path, user="root", mode=0o755):
    os.makedirs(path, exist_ok=True)
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
    os.chmod(path, mode)
    return path


def wait_until(predicate, what):
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not predicate():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(POLL_S)


def clients(number, make, rate, count, gap_s=random.expovariate):
    """Starts client processes that together do `rate` operations a second (0: as many as they can).

    `make(index)` is called in each process and returns a function that does one operation.
    `gap_s(rate)` is the time between two: by default like independent users'.
    """
    for index in range(number):
        if os.fork() == 0:
            try:
                random.seed(index)
                _run(make(index), rate and (lambda: gap_s(rate / number)), lambda: count.add(index))
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(1)


def _run(operate, gap_s, done):
    due_s = time.monotonic()
    while True:
        if gap_s:
            due_s = max(due_s + gap_s(), time.monotonic() - LATE_MAX_S)
            time.sleep(max(0, due_s - time.monotonic()))
        operate()
        done()


def follow(lines, pattern, count):
    """Counts what a benchmark says of itself, in a thread of its own: `pattern` has the second and the transactions
    a second since the report before."""
    threading.Thread(target=_follow, args=(lines, pattern, count), daemon=True).start()


def _follow(lines, pattern, count):
    last_s = 0.0
    total = 0.0
    for line in lines:
        match = re.match(pattern, line)
        if not match:
            print(line.strip(), flush=True)
            continue
        before = round(total)
        total += (float(match[1]) - last_s) * float(match[2])
        last_s = float(match[1])
        count.add(0, round(total) - before)


class HttpConnection:
    """A connection to a server in this guest that is kept."""

    def __init__(self, port):
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def request(self, method, path, body=None, headers={}):
        """Returns the answer, which has been read; its content is `content`."""
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        answer.content = answer.read()
        if answer.status >= 400:
            raise ValueError(f"{answer.status} was answered to {method} {path}: {answer.content[:200]!r}")
        return answer


def http_answers(port, path):
    try:
        HttpConnection(port).request("GET", path)
        return True
    except (OSError, ValueError):
        return False


class Material:
    """Realistic bytes: pieces of the files that this system is made of, put into one file beforehand."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    @classmethod
    def make(cls, path, folders, suffixes, bytes_max):
        sources = [os.path.join(parent, name) for folder in folders for parent, _, names in os.walk(folder)
                   for name in names if name.endswith(suffixes)]
        random.shuffle(sources)
        with open(path, "wb") as out:
            for source in sources:
                if os.path.isfile(source) and not os.path.islink(source):
                    with open(source, "rb") as file:
                        out.write(file.read(SOURCE_BYTES_MAX))
                if out.tell() > bytes_max:
                    break
        return cls(path)

    def piece(self, size):
        at = random.randrange(len(self._bytes) - size)
        return self._bytes[at:at + size]


def log_normal_size(median, sigma, low, high):
    """A size as files and mails have them: most small, a few large."""
    return min(high, max(low, round(random.lognormvariate(math.log(median), sigma))))


class Zipf:
    """Numbers from 0 to n-1, of which a few are much more frequent than most (in no order)."""

    def __init__(self, n, exponent):
        self._n = n
        self._power = 1 - exponent
        self._top = n ** self._power - 1
        self._step = next(step for step in (7919, 104729, 1299709) if n % step)

    def pick(self):
        rank = int((random.random() * self._top + 1) ** (1 / self._power)) - 1
        return rank * self._step % self._n
