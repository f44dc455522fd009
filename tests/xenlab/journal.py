#!/usr/bin/python3
"""The journal: has a guest write to its replicated disk from outside, and judges what disk and memory hold afterwards.

Run as a program in the lab's namespace, it has the guest (guest/journal.cpp) write numbered blocks of each kind,
over one TCP connection a kind, and logs what is acknowledged (load.py). `journal.py self-test` shows that the judge
can condemn.
"""

import json
import sys
import time

from client import CONNECT_TIMEOUT_S, Connection, ask
from load import Load, follow_all

JOURNAL_PORT = 9
KINDS = ("direct", "flushed", "buffered", "file", "file-flushed")
# It reads some thousand blocks, emulated.
VERIFY_TIMEOUT_S = 180
FAILURES_SHOWN = 4


class Journal(Load):
    """A running client, with a connection for each kind of block."""

    def __init__(self, network, address, log_file, interval_ms=200):
        super().__init__(network, address, KINDS, log_file, __file__, interval_ms)

    def churn(self, writes_per_s):
        """Has the guest write that much at random places by itself; 0 stops it."""
        self._tell(f"churn {writes_per_s}")

    def settle(self):
        """Ends all writing, and puts what was written on the disk: it changes no more. Returns the guest's report."""
        self.stop()
        answer = ask(self._network, self.address, "verify", VERIFY_TIMEOUT_S, JOURNAL_PORT)
        assert answer.startswith("{"), answer
        return json.loads(answer)

    def check(self):
        """Settles, and asserts that nothing acknowledged is lost and nothing else is on the disk. Returns the report."""
        report = self.settle()
        failures = self.troubles() + judge(self.acknowledged(), report)
        assert not failures, f"{len(failures)} failures: {'; '.join(failures[:FAILURES_SHOWN])}"
        return report

    def unmount(self):
        """Lets go of the disk's file system, so that it can be checked; the guest cannot be asked to write again."""
        self._tell("unmount")

    def _tell(self, line):
        answer = ask(self._network, self.address, line, VERIFY_TIMEOUT_S, JOURNAL_PORT)
        assert answer == "ok", answer


def summary(report):
    """A report in a few words."""
    newest = ", ".join(f"{kind} {facts['newest']}" for kind, facts in report["kinds"].items())
    return f"blocks written: {newest}, churned {report['churned']}; the slowest took {report['slowest_ms']} ms"


def judge(acknowledged, report):
    """What is wrong with a guest's disk or memory, one text each.

    `acknowledged` is {kind: numbers} as its client got them; `report` is what the guest answers to "verify": of each
    place on the disk what its memory expects there and what was found, after all was written out and its caches
    were dropped. Blocks are told apart by a stamp, so that one of an epoch that was never committed is found out
    even where the guest has since used its number again.
    """
    failures = []
    if report["errors"]:
        failures.append(f"{report['errors']} writes failed in the guest")
    for kind, numbers in acknowledged.items():
        facts = report["kinds"][kind]
        last = max(numbers, default=0)
        if facts["newest"] < last:
            failures.append(f"the guest acknowledged {kind} {last} and knows of none after {facts['newest']}")
        kept = facts["newest"] - facts["keeps"]
        lost = sorted({number for number in numbers if number > kept} - set(facts["present"]))
        if lost:
            failures.append(f"{len(lost)} acknowledged blocks of {kind} are not on the disk: {lost[:FAILURES_SHOWN]}")
    return failures + [_explain(block) for block in report["unexplained"]]


def _explain(block):
    place = f"{block['kind']} place {block['place']}"
    if block["trouble"]:
        return f"{place}: {block['trouble']}"
    if block["found"] < block["expected"]:
        return f"{place}: written with {block['expected']}, and the disk has {block['found']}: lost"
    return (f"{place}: the disk has {block['found']}, which the guest has not written there (it knows of "
            f"{block['expected']}): from an epoch that was not committed")


def self_test():
    """Shows that judge() accepts what is right, and finds each thing that can be wrong."""
    def report(present, newest, keeps=512, unexplained=(), errors=0):
        kinds = {"direct": {"newest": newest, "keeps": keeps, "present": list(present)}}
        return {"kinds": kinds, "errors": errors, "unexplained": list(unexplained)}

    def block(expected, found, trouble=""):
        return {"kind": "churn", "place": 7, "expected": expected, "found": found, "trouble": trouble}

    def expect(words, numbers, of):
        found = judge({"direct": list(numbers)}, of)
        assert (not found) == (words is None) and all(words in text for text in found), (words, found)

    expect(None, [], report([], 0))
    expect(None, range(1, 10), report(range(1, 10), 9))
    # One more may be on its way, or done and its acknowledgement lost.
    expect(None, range(1, 10), report(range(1, 11), 10))
    # What was overwritten is not missed.
    expect(None, range(1, 1000), report(range(488, 1000), 999))
    expect("1 acknowledged blocks of direct are not on the disk: [488]", range(1, 1000), report(range(489, 1000), 999))
    expect("not on the disk: [5]", range(1, 10), report([1, 2, 3, 4, 6, 7, 8, 9], 9))
    expect("knows of none after 8", range(1, 10), report(range(1, 10), 8))
    expect("2 writes failed", range(1, 10), report(range(1, 10), 9, errors=2))
    expect("damaged", [], report([], 0, unexplained=[block(3, 0, "damaged")]))
    expect("written with 5, and the disk has 3: lost", [], report([], 0, unexplained=[block(5, 3)]))
    expect("not committed", [], report([], 0, unexplained=[block(5, 9)]))
    expect("not committed", [], report([], 0, unexplained=[block(0, 9)]))
    # The same number again, written in another course of events.
    expect("not committed", [], report([], 0, unexplained=[block(9, 9)]))
    print("the judge condemns what it must")


def follow(kind, address, interval_s, log):
    try:
        connection = Connection(address, JOURNAL_PORT, CONNECT_TIMEOUT_S)
        connection.set_timeout(None)
        number = int(connection.ask(f"newest {kind}"))
        while True:
            number += 1
            answer = connection.ask(f"write {kind} {number}")
            if answer != f"{kind} {number}":
                raise OSError(answer)
            log(time.monotonic_ns(), answer)
            time.sleep(interval_s)
    except OSError as error:
        log("#", kind, error)


def main_run(address, interval_ms, log_path):
    follow_all(lambda kind, log: follow(kind, address, float(interval_ms) / 1000, log), KINDS, log_path)


if __name__ == "__main__":
    {"run": main_run, "self-test": self_test}[sys.argv[1]](*sys.argv[2:])
