"""Whether what clients saw of a guest is explained by the state that the backup activated.

A value that a client read while epoch N ran is part of the state that epoch N's checkpoint
captured. So a guest that goes on from epoch E must know every value that was read while an
epoch up to E ran. Later values are lost as long as output is not held back; with output
commit none may be.
"""

import dataclasses
import json
import threading
import time

SAMPLE_INTERVAL_S = 0.3
FAILOVER_FILE = "/var/log/specrep/{guest}.failover.json"


@dataclasses.dataclass(frozen=True)
class Sample:
    value: int  # what the client had read ...
    epoch: int  # ... before this epoch ended


class Watch:
    """Notes what the client saw and which epoch ran, until it is stopped or the primary is gone."""

    def __init__(self, lab, guest, counter):
        self.samples = []
        self._lab, self._guest, self._counter = lab, guest, counter
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()

    def _run(self):
        # The primary publishes its epoch once a second. A value that was read before a
        # publication was read while the epoch that it names ran, or an earlier one.
        pending, published = 0, 0
        while not self._stop.wait(SAMPLE_INTERVAL_S):
            value = self._counter.last_value()
            entry = protection(self._lab, 1, self._guest)
            if entry is None:
                return
            epoch = entry["status"].get("epoch", 0)
            if epoch != published:
                self.samples.append(Sample(pending, epoch))
                published = epoch
            pending = value


def protection(lab, host, guest):
    """The guest's entry of `xl remus-spec-list --json` on a host, or None."""
    try:
        listed = lab.ssh(host, "xl remus-spec-list --json", check=False, timeout=20)
    except Exception:  # the host has lost its power
        return None
    if listed.returncode != 0:
        return None
    return next((entry for entry in json.loads(listed.stdout) if entry["name"] == guest), None)


def wait_until_protected(lab, host, guest, timeout_s, process=None):
    """Waits for the first commit; `process` is the xl remus-spec that must not end meanwhile."""
    def ready():
        assert process is None or process.poll() is None, f"xl remus-spec ended: {process.communicate()}"
        entry = protection(lab, host, guest)
        return entry and entry["state"] == "protected" and entry
    return lab.wait_for(ready, timeout_s, f"{guest} to be protected")


def wait_for_failover(lab, host, guest, timeout_s):
    """Waits until the backup has activated the guest; returns its record of that."""
    file = FAILOVER_FILE.format(guest=guest)

    def record():
        read = lab.ssh(host, f"cat {file}", check=False)
        # Written in one go, but after the file was made.
        return read.returncode == 0 and read.stdout.rstrip().endswith("}") and json.loads(read.stdout)
    return lab.wait_for(record, timeout_s, f"{guest} to be activated on host {host}")


def must_be_known(samples, epoch):
    """The highest value that the state of `epoch` has to contain. 0 if none was sampled."""
    return max((sample.value for sample in samples if 0 < sample.epoch <= epoch), default=0)


@dataclasses.dataclass(frozen=True)
class FailoverTimes:
    """Seconds from the power cut, on this machine's clock, good to about 50 ms."""
    detected_s: float
    running_s: float
    answer_s: float


def failover_times(lab, host, record, cut_unix_s, answer_unix_s):
    offset_s = lab.clock_offset(host)
    return FailoverTimes(record["detected_unix_s"] - offset_s - cut_unix_s,
                         record["running_unix_s"] - offset_s - cut_unix_s,
                         answer_unix_s - cut_unix_s)


def unix_s(monotonic_ns):
    """A time.monotonic_ns() of this machine as seconds since 1970."""
    return time.time() - (time.monotonic_ns() - monotonic_ns) / 1e9
