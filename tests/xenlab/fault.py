"""A fault strikes a protected guest: a cut link, a killed process, a host without power. For each there is a
function that makes it happen, and checks from outside that one copy goes on and that clients only wait.
"""

import contextlib
import dataclasses
import random
import time

from client import Counter
from explain import wait_for_failover
from network import HOSTS
from observer import Observer
from protection import End, check_unprotected

RUN_MIN_S, RUN_MAX_S = 1, 4  # before the fault, from the first commit
DIRTY_PAGES_PER_S = 300
KILL_MAX_S = 180
END_MAX_S = 90
GONE_S = 120
WATCH_ON_S = 2  # after all is settled
PARTITION_TIMEOUT_MS = 2000
CUT_TIMEOUT_MS = 1000
KILL_TIMEOUT_MS = 3000

# Halts specrep-primary again and again, until it is in the middle of a checkpoint.
KILL_WHILE_STOPPED = r"""
for i in $(seq 300); do
  pkill -STOP -x specrep-primary
  case $(xl list {guest}) in *ss-\ *) pkill -KILL -x specrep-primary; exit;; esac
  pkill -CONT -x specrep-primary
  sleep 0.0$((i % 10))
done
exit 1"""


@dataclasses.dataclass(frozen=True)
class Outcome:
    goes_on_at: int  # the host
    answer_s: float  # from the fault to the next answer
    error: str  # what xl remus-spec said at its end

    def __str__(self):
        return f"goes on at host {self.goes_on_at}, answered {self.answer_s:.2f} s after the fault"


@dataclasses.dataclass(frozen=True)
class Fault:
    counter: Counter
    observer: Observer
    end: End  # of xl remus-spec
    seen: int
    struck_ns: int

    def next_answer_s(self):
        """Seconds from the fault to the next answer.

        Some may still have been on their way then: it is the one that ended the longest silence.
        """
        times_ns = [answer.time_ns for answer in self.counter.answers()]
        _, end_ns = max((after - before, after) for before, after in zip(times_ns, times_ns[1:])
                        if after > self.struck_ns)
        return (end_ns - self.struck_ns) / 1e9


@contextlib.contextmanager
def struck(lab, options, strike):
    """Protects the guest, calls strike() at a random moment under traffic, and waits for xl remus-spec to end."""
    with lab.Counter(lab.GUEST_ADDRESSES[lab.guest], interval_ms=20) as counter, lab.Observer() as observer:
        counter.wait_for_answer(60)
        with lab.protect(options) as protection:
            protection.wait_until_protected()
            counter.dirty(DIRTY_PAGES_PER_S)
            counter.wait_for_answer(30)
            time.sleep(random.uniform(RUN_MIN_S, RUN_MAX_S))
            seen, struck_ns = counter.last_value(), time.monotonic_ns()
            strike()
            end = protection.end(END_MAX_S)
        yield Fault(counter, observer, end, seen, struck_ns)


def outcome(lab, fault, goes_on_at):
    """Asserts that the guest goes on at that host, alone, with its client's connection and an open network.

    It ends the observer's watch, and asserts that no other copy was heard.
    """
    if goes_on_at == 2:
        wait_for_failover(lab, 2, lab.guest, GONE_S)
    fault.counter.wait_for_answer(GONE_S)
    answer_s = fault.next_answer_s()
    time.sleep(WATCH_ON_S)
    fault.counter.wait_for_answer(GONE_S)
    fault.counter.check_continuous()
    assert fault.counter.troubles() == [], fault.counter.troubles()
    assert fault.counter.last_value() > fault.seen
    for host in filter(lab.is_running, HOSTS):
        expected = [lab.guest] if host == goes_on_at else []
        lab.wait_for(lambda: lab.domains(host) == expected, GONE_S, f"{expected} to be all that host {host} has")
    assert lab.output_buffers(goes_on_at) == [], lab.output_buffers(goes_on_at)
    fault.observer.check_one_speaker(goes_on_at)
    return Outcome(goes_on_at, answer_s, fault.end.stderr.strip().splitlines()[-1])


def partition_with_arbiter(lab, options, strike=None):
    """`strike`, if it is given, cuts the link, and does more."""
    with struck(lab, f"--timeout {PARTITION_TIMEOUT_MS} {options}", strike or lab.partition) as fault:
        lab.wait_for(lambda: len(lab.domains(1) + lab.domains(2)) == 1, GONE_S, "the end of one copy")
        if lab.domains(1) == [lab.guest]:
            fault.end.expect(1, f"{lab.guest} runs on, unprotected")
            return outcome(lab, fault, 1)
        fault.end.expect(1, f"{lab.guest} runs on xen2 now")
        return outcome(lab, fault, 2)


def partition_primary_yields(lab, options=""):
    with struck(lab, f"--timeout {PARTITION_TIMEOUT_MS} --yield primary {options}", lab.partition) as fault:
        fault.end.expect(1, f"{lab.guest} is paused and its network held")
        assert "remus-spec-stop --force" in fault.end.stderr, fault.end.stderr
        wait_for_failover(lab, 2, lab.guest, GONE_S)
        state = lab.ssh(1, f"xl list {lab.guest}").stdout.splitlines()[-1].split()[4]
        assert "p" in state, state
        assert lab.output_buffers(1) != []
        # Without --force nothing opens the network of a guest whose copy may run.
        refused = lab.ssh(1, f"xl remus-spec-stop {lab.guest}", check=False)
        assert refused.returncode == 1 and "may run on" in refused.stderr, refused
        # What is held goes with it, and never out.
        lab.ssh(1, f"xl destroy {lab.guest}")
        return outcome(lab, fault, 2)


def partition_backup_yields(lab, options=""):
    with struck(lab, f"--timeout {PARTITION_TIMEOUT_MS} --yield backup {options}", lab.partition) as fault:
        fault.end.expect(1, f"{lab.guest} runs on, unprotected")
        assert lab.domains(2) == [f"{lab.guest}--incoming"], lab.domains(2)
        listed = lab.protections(2)
        assert [entry["state"] for entry in listed] == ["primary-lost"], listed
        lab.ssh(2, "pkill -TERM -x specrep-backup")
        return outcome(lab, fault, 1)


def primary_killed(lab, options="", command="pkill -KILL -x specrep-primary", timeout_ms=KILL_TIMEOUT_MS):
    """`command` is what kills it, on host 1."""
    with struck(lab, f"--timeout {timeout_ms} {options}", lambda: lab.ssh(1, command, KILL_MAX_S)) as fault:
        fault.end.expect(1, "specrep-primary died (killed by signal 9", f"{lab.guest} runs on, unprotected")
        assert "held" not in fault.end.stderr, fault.end.stderr
        check_unprotected(lab, fault.counter)
        log = lab.ssh(2, f"cat /var/log/specrep/{lab.guest}.log").stdout
        assert "activating" not in log, log
        return outcome(lab, fault, 1)


# A primary that was kept from running when the backup died may see the silence first.
BACKUP_DIED = ("the link to the backup closed", "the backup has not been heard of")


def backup_killed(lab, options="", signal="KILL", said=BACKUP_DIED):
    """xl remus-spec says one of `said`."""
    def strike():
        lab.ssh(2, f"pkill -{signal} -x specrep-backup")
    with struck(lab, f"--timeout {KILL_TIMEOUT_MS} {options}", strike) as fault:
        fault.end.expect(1, f"{lab.guest} runs on, unprotected")
        assert any(words in fault.end.stderr for words in said), fault.end.stderr
        assert "held" not in fault.end.stderr, fault.end.stderr
        check_unprotected(lab, fault.counter)
        return outcome(lab, fault, 1)


def backup_cut(lab, options):
    """Host 2 loses its power; with an arbiter, since host 1's copy would else be held."""
    with struck(lab, f"--timeout {CUT_TIMEOUT_MS} {options}", lambda: lab.power_cut(2)) as fault:
        fault.end.expect(1, f"{lab.guest} runs on, unprotected")
        check_unprotected(lab, fault.counter)
        return outcome(lab, fault, 1)
