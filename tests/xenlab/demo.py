#!/usr/bin/python3
"""Shows the main job on real Xen: a protected guest goes on at the second host when the first loses power.

Started by scripts/demo, which installs and builds what it needs first.
"""

import argparse
import json
import sys
import threading
import time

sys.dont_write_bytecode = True

import explain  # noqa: E402
from common import LabError, lab_dir, say  # noqa: E402
from lab import Lab  # noqa: E402

EPOCH_MS = 200
PROTECTED_TIMEOUT_S = 240
# How long the guest runs protected before the power is cut.
PROTECTED_S = 20
FAILOVER_TIMEOUT_S = 120
KINDS = {"pvh": "PVH, PV drivers", "hvm": "HVM, no PV drivers"}

GUARANTEES = """\
What holds, and was just seen: the guest goes on from its last committed epoch, with
its memory, its CPUs and its devices as they were then. Nothing that it had sent is
unknown to that state, since output waits for its epoch's commit: the client's TCP
connection stalls and goes on, and its counter neither goes back nor skips.
What is not shown: disks, which are replicated, too (these guests have none)."""


class Protection:
    """`xl remus-spec` at work on host 1; tells about its progress."""

    def __init__(self, lab, guest):
        self.process = lab.ssh_start(1, f"xl remus-spec -i {EPOCH_MS} --json {guest} xen2")
        self.protected = threading.Event()
        self.ended = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        told = -1
        for line in self.process.stdout:
            if not line.startswith("{"):
                continue
            event = json.loads(line)
            if event["event"] == "progress":
                tenth = 10 * event["pages_done"] // max(event["pages_total"], 1)
                if (event["round"], tenth) != told:
                    told = (event["round"], tenth)
                    say(f"  first copy, round {event['round']}: {event['pages_done']} of "
                        f"{event['pages_total']} pages, {event['bytes'] / 1e6:.1f} MB sent")
            elif event["event"] == "protected":
                self.seconds = event["seconds"]
                self.protected.set()
            elif event["event"] == "ended":
                self.ended = event
        self.protected.set()

    def wait(self):
        if not self.protected.wait(PROTECTED_TIMEOUT_S):
            raise LabError(f"the guest was not protected within {PROTECTED_TIMEOUT_S} s")
        if self.process.poll() is not None:
            raise LabError(f"xl remus-spec ended: {self.ended or self.process.stderr.read()}")


def show(guest):
    """Protects a guest, cuts the power, and returns the table's rows."""
    say(f"--- {guest} ({KINDS[guest]}): starting two Xen hosts, the guest on the first")
    lab = Lab.start(lab_dir(), guest)
    try:
        lab.push()
        return protect_and_cut(lab, guest)
    finally:
        lab.down()


def protect_and_cut(lab, guest):
    address = lab.GUEST_ADDRESSES[guest]
    with lab.Counter(address) as counter:
        counter.wait_for_answer(60)
        say(f"a client counts with {guest}: it is at {counter.last_value()}")
        say(f"xl remus-spec -i {EPOCH_MS} {guest} xen2")
        protection = Protection(lab, guest)
        protection.wait()
        say(f"{guest} is protected, after {protection.seconds:.1f} s; it runs so for {PROTECTED_S} s")
        time.sleep(PROTECTED_S)
        before = explain.protection(lab, 1, guest)["status"]

        lab.power_cut(1)
        cut_unix_s = time.time()
        time.sleep(0.3)  # what was on its way arrives
        value_before, since_ns = counter.last_value(), time.monotonic_ns()
        say(f"cut host 1's power; the client has seen {value_before}")
        record = explain.wait_for_failover(lab, 2, guest, FAILOVER_TIMEOUT_S)
        say(f"host 2 runs {guest} from epoch {record['epoch']}: {record['reason']}")
        answer = counter.wait_for_answer(FAILOVER_TIMEOUT_S, since_ns)
        answer_s = explain.unix_s(answer.time_ns) - cut_unix_s
        times = explain.failover_times(lab, 2, record, cut_unix_s)
        names = lab.domains(2)
        counter.check_continuous()

    if names != [guest]:
        raise LabError(f"host 2 should run {guest} alone, and runs {names}")
    if answer.value != value_before + 1:
        raise LabError(f"the counter answered {answer.value} after {value_before}")
    return [
        ("guest", f"{guest} ({KINDS[guest]})"),
        ("epochs committed", f"{record['epoch']}"),
        ("epoch length (asked for)", f"{before['epoch_ms']:.0f} ms ({EPOCH_MS} ms)"),
        ("pages written per epoch", f"{before['pages_per_epoch']:.0f}"),
        ("  sent while the guest ran", traffic(before, "speculative")),
        ("  of these in vain", traffic(before, "wasted")),
        ("  sent at the end (residual)", traffic(before, "residual")),
        ("bytes per epoch, with state", f"{before['bytes_per_epoch'] / 1e3:.0f} kB"),
        *[(f"  share of {name} pages", share) for name, share in codec_shares(before)],
        ("pause per checkpoint", f"{before['pause_ms']:.0f} ms"),
        ("  suspend, capture, resume", f"{before['suspend_ms']:.0f}, "
                                       f"{before['capture_memory_ms'] + before['capture_state_ms']:.0f}, "
                                       f"{before['resume_ms']:.0f} ms"),
        ("output held at most", f"{before['output_held_bytes_max'] / 1e3:.1f} kB"),
        ("power cut to detection", f"{times.detected_s:.2f} s"),
        ("power cut to guest running", f"{times.running_s:.2f} s"),
        ("power cut to next answer", f"{answer_s:.2f} s"),
        ("counter before the cut", f"{value_before}"),
        ("counter after failover", f"{answer.value}, same connection"),
    ]


def traffic(status, kind):
    return f"{status[f'{kind}_pages_per_epoch']:.0f} = {status[f'{kind}_bytes_per_epoch'] / 1e3:.1f} kB"


def codec_shares(status):
    """How many of the pages went in each encoding, and what share of the bytes they were."""
    codecs = status["codecs"]
    pages, size = (max(1, sum(codec[unit] for codec in codecs.values())) for unit in ("pages", "bytes"))
    return [(name, f"{100 * codec['pages'] / pages:.0f} %, {100 * codec['bytes'] / size:.0f} % of bytes")
            for name, codec in codecs.items()]


def print_table(columns):
    for rows in zip(*columns):
        print(f"{rows[0][0]:28}" + "".join(f"{value:>25}" for _, value in rows))


def main():
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--guest", choices=KINDS, help="only this kind of guest (both otherwise)")
    arguments = parser.parse_args()
    start_s = time.monotonic()
    columns = [show(guest) for guest in ([arguments.guest] if arguments.guest else KINDS)]
    say(f"done in {time.monotonic() - start_s:.0f} s")
    print("\nTimes are of emulated hosts, good for ratios only; see doc/results.md.\n")
    print_table(columns)
    print(f"\n{GUARANTEES}")


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        sys.exit(f"demo: {error}")
