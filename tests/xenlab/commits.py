#!/usr/bin/python3
"""Acknowledged commits: has a guest's PostgreSQL commit rows from outside, and judges what it holds afterwards.

Run as a program in the lab's namespace, it inserts numbered rows over several connections, each row in a transaction
of its own, which also notes its number as the connection's newest in another table; it logs what is acknowledged
(load.py). `commits.py self-test` shows that the judge can condemn.
"""

import collections
import hashlib
import json
import os
import socket
import subprocess
import sys
import time

from client import ask, wait_out_failovers
from common import LabError, run
from load import Load, follow_all

CONNECTIONS = ("one", "two", "three")
# Of a request that reads all of the database, emulated.
CHECK_TIMEOUT_S = 240
# The server starts a process for each connection.
CONNECT_TIMEOUT_S = 60
FAILURES_SHOWN = 4


class Commits(Load):
    """A running client. A host that is kept busier by its guest does not get round to protecting it."""

    def __init__(self, network, address, log_file, interval_ms=500):
        super().__init__(network, address, CONNECTIONS, log_file, __file__, interval_ms)

    def failures(self):
        """Ends all writing; returns what is wrong with what the database holds, one text each."""
        self.stop()
        return self.troubles() + judge(self.acknowledged(), self.read())

    def check(self):
        """Ends all writing, and asserts that the database holds what was acknowledged, once. Returns it in words."""
        failures = self.failures()
        assert not failures, f"{len(failures)} failures: {'; '.join(failures[:FAILURES_SHOWN])}"
        return ", ".join(f"{connection} {len(numbers)}" for connection, numbers in self.acknowledged().items())

    def read(self):
        """What the database holds: {"rows": [[connection, number, content], ...], "newest": {connection: number}}."""
        try:
            done = run(self._network.inside([sys.executable, __file__, "read", self.address]), "read the database",
                       timeout=CHECK_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise LabError(f"the database was not read within {CHECK_TIMEOUT_S} s") from None
        return json.loads(done.stdout)

    def order(self, command):
        """Has the guest do something with its database that must succeed; see database-guest/serve.py."""
        answer = ask(self._network, self.address, command, CHECK_TIMEOUT_S)
        assert answer == "ok", answer


def content(connection, number):
    """What a row has besides its number: some hundred bytes that nobody else would write."""
    return hashlib.sha512(f"{connection} {number}".encode()).hexdigest() * 2


def judge(acknowledged, held):
    """What is wrong with a database, one text each.

    `acknowledged` is {connection: numbers} as its client got them, `held` is what Commits.read() returns. One number
    more than was acknowledged may be there, since it may have been on its way.
    """
    failures = []
    rows = collections.defaultdict(list)
    for connection, number, text in held["rows"]:
        rows[connection].append(number)
        if text != content(connection, number):
            failures.append(f"row {number} of {connection} has not the content that was sent")
    failures += [f"{len(rows[connection])} rows of {connection}, which sent none" for connection in rows
                 if connection not in acknowledged]
    for connection, numbers in acknowledged.items():
        found = collections.Counter(rows[connection])
        last = max(numbers, default=0)
        lost = sorted(set(numbers) - set(found))
        if lost:
            failures.append(f"{len(lost)} acknowledged commits of {connection} are missing: {lost[:FAILURES_SHOWN]}")
        twice = sorted(number for number, count in found.items() if count > 1)
        if twice:
            failures.append(f"{len(twice)} rows of {connection} are there more than once: {twice[:FAILURES_SHOWN]}")
        unsent = sorted(number for number in found if not 1 <= number <= last + 1)
        if unsent:
            failures.append(f"{len(unsent)} rows of {connection} were never sent: {unsent[:FAILURES_SHOWN]}")
        newest = held["newest"].get(connection, 0)
        if newest != max(found, default=0):
            failures.append(f"half a transaction: the newest of {connection} is noted as {newest}, and there is "
                            f"{max(found, default=0)}")
    return failures


def self_test():
    """Shows that judge() accepts what is right, and finds each thing that can be wrong."""
    def expect(words, numbers, rows, newest=None, text=content):
        numbers, rows = list(numbers), list(rows)
        held = {"rows": [["one", number, text("one", number)] for number in rows],
                "newest": {"one": max(rows, default=0) if newest is None else newest}}
        found = judge({"one": numbers}, held)
        assert (not found) == (words is None), (words, found)
        assert words is None or any(words in text for text in found), (words, found)

    expect(None, [], [])
    expect(None, range(1, 10), range(1, 10))
    # One more was on its way.
    expect(None, range(1, 10), range(1, 11))
    expect("2 rows of one were never sent: [11, 12]", range(1, 10), range(1, 13))
    expect("1 acknowledged commits of one are missing: [9]", range(1, 10), range(1, 9))
    expect("are missing: [5]", range(1, 10), [1, 2, 3, 4, 6, 7, 8, 9])
    expect("1 rows of one are there more than once: [9]", range(1, 10), [*range(1, 10), 9])
    expect("half a transaction", range(1, 10), range(1, 10), newest=8)
    expect("not the content", range(1, 10), range(1, 10), text=lambda connection, number: "")
    assert judge({}, {"rows": [["two", 1, content("two", 1)]], "newest": {}}) == ["1 rows of two, which sent none"]
    print("the judge condemns what it must")


def connect(address):
    connection = psycopg2.connect(host=address, user="postgres", dbname="postgres", connect_timeout=CONNECT_TIMEOUT_S)
    connection.autocommit = True
    with socket.socket(fileno=os.dup(connection.fileno())) as same:
        wait_out_failovers(same)
    return connection


def follow(name, address, interval_s, log):
    try:
        cursor = connect(address).cursor()
        cursor.execute("INSERT INTO newest VALUES (%s, 0)", (name,))
        number = 0
        while True:
            number += 1
            # Sent together, both are one transaction, which ends before this is answered.
            cursor.execute("INSERT INTO commits VALUES (%s, %s, %s);"
                           "UPDATE newest SET number = %s WHERE connection = %s",
                           (name, number, content(name, number), number, name))
            log(time.monotonic_ns(), name, number)
            time.sleep(interval_s)
    except psycopg2.Error as error:
        log("#", name, *str(error).split())


def main_run(address, interval_ms, log_path):
    follow_all(lambda name, log: follow(name, address, float(interval_ms) / 1000, log), CONNECTIONS, log_path)


def main_read(address):
    cursor = connect(address).cursor()
    # Past the indexes, of which amcheck tells whether they agree.
    cursor.execute("SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off")
    cursor.execute("SELECT connection, number, content FROM commits")
    rows = cursor.fetchall()
    cursor.execute("SELECT connection, number FROM newest")
    print(json.dumps({"rows": rows, "newest": dict(cursor.fetchall())}))


if __name__ == "__main__":
    # Not for those who only ask for its results.
    import psycopg2
    {"run": main_run, "read": main_read, "self-test": self_test}[sys.argv[1]](*sys.argv[2:])
