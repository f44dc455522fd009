"""Moves a protected guest to the other host on purpose, under traffic, and checks from outside that nothing is lost."""

import contextlib
import dataclasses
import json
import random
import time

from explain import wait_for_failover
from once import Once

RECORD_FILE = "/var/log/specrep/{guest}.switchover.json"
RUN_MIN_S, RUN_MAX_S = 1, 3
COMMAND_MAX_S = 180
GOING_S = 60
WATCH_ON_S = 2


@dataclasses.dataclass(frozen=True)
class Switchover:
    """What clients saw of it, and what both hosts recorded."""

    silent_s: float  # the longest time without an answer
    replies: int  # to what was asked once
    lost: list  # requests that the guest did not get, and replies that nobody got
    disk_bytes: int  # that the other host's copy of its disk lacked
    primary: dict
    backup: dict

    def __str__(self):
        return (f"no answer for {self.silent_s:.2f} s; stopped to committed {self.primary['committed_ms']:.0f} ms, to "
                f"taken over {self.primary['taken_over_ms']:.0f} ms; created in {self.backup['create_ms']:.0f} ms; "
                f"{self.replies} replies, lost {len(self.lost)}: {self.lost[:8]}; {self.backup['input_frames']} frames sent after it; {self.disk_bytes >> 20} MiB of disk to be sent")


def failover_command(lab, host, words=""):
    return lab.ssh(host, f"xl remus-spec-failover {words} {lab.guest}", timeout=COMMAND_MAX_S, check=False)


def switch_over(lab, host, options, watch=lambda: None, interval_ms=25):
    """Protects the guest on a host, and moves it to the other one at a random moment. Asserts that clients only wait.

    `watch` is called when it is protected. `interval_ms`: between requests that are sent once; more than the guest can
    answer are lost by its own kernel.
    """
    other = 3 - host
    address = lab.GUEST_ADDRESSES[lab.guest]
    with contextlib.ExitStack() as stack:
        protection = stack.enter_context(lab.protect(options, host=host))
        protection.wait_until_protected()
        # Only now: an emulated host has little to spare while it copies a guest.
        counter = stack.enter_context(lab.Counter(address, interval_ms=20))
        once = stack.enter_context(Once(lab.network, address, lab.folder / "once.log", interval_ms))
        watch()
        counter.wait_for_answer(GOING_S)
        time.sleep(random.uniform(RUN_MIN_S, RUN_MAX_S))
        lab.ssh(other, f"rm -f /var/log/specrep/{lab.guest}.events")
        begun_ns = time.monotonic_ns()
        done = failover_command(lab, host)
        assert done.returncode == 0 and done.stdout == f"{lab.guest} runs on xen{other} now\n", done
        protection.end().expect(0)
        assert protection.events("ended")[-1]["reason"] == "handed-over", protection.events("ended")
        counter.wait_for_answer(GOING_S)
        time.sleep(WATCH_ON_S)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
        silent_s = counter.longest_gap_s(begun_ns)
        lost, replies = once.lost()
        disk_bytes = max((event["bytes_total"] for event in protection.events("progress") if event["phase"] == "disks"),
                         default=0)
    record = json.loads(lab.ssh(host, f"cat {RECORD_FILE.format(guest=lab.guest)}").stdout)
    taken_over = wait_for_failover(lab, other, lab.guest, GOING_S)
    assert taken_over["epoch"] == record["epoch"], (taken_over, record)
    assert lab.domains(host) == [] and lab.domains(other) == [lab.guest]
    for either in (host, other):
        lab.wait_for(lambda: lab.protections(either) == [], GOING_S, f"the end of the entry on host {either}")
        assert lab.output_buffers(either) == [], lab.output_buffers(either)
    return Switchover(silent_s, replies, lost, disk_bytes, record, taken_over)
