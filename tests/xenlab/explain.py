"""What the hosts say of a protection and of a failover."""

import dataclasses
import json
import time

EVENT_LOG = "/var/log/specrep/{guest}.events"


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
    return lab.wait_for(lambda: next((e for e in reversed(events(lab, host, guest)) if e["event"] == "failover"), None),
                        timeout_s, f"{guest} to be activated on host {host}")


def events(lab, host, guest):
    """What a host's event log of the guest has, oldest first."""
    read = lab.ssh(host, f"cat {EVENT_LOG.format(guest=guest)}", check=False)
    text = read.stdout if read.returncode == 0 else ""
    return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]


@dataclasses.dataclass(frozen=True)
class FailoverTimes:
    """Seconds from the power cut, on this machine's clock, good to about 50 ms."""
    detected_s: float
    decided_s: float
    running_s: float
    announced_s: float


def failover_times(lab, host, record, cut_unix_s):
    offset_s = lab.clock_offset(host) + cut_unix_s
    return FailoverTimes(*(record[f"{what}_unix_s"] - offset_s for what in ("detected", "decided", "running", "announced")))


def unix_s(monotonic_ns):
    """A time.monotonic_ns() of this machine as seconds since 1970."""
    return time.time() - (time.monotonic_ns() - monotonic_ns) / 1e9
