"""Protection of a guest by `xl remus-spec`: start it, follow it, and check what it left behind."""

import contextlib
import dataclasses
import json
import subprocess
import time


# Idle, the first copy of the lab's guests takes 8 s; 30 s beside four compilers.
# The first copy of memory and disks, while the guest writes and the machine is busy.
PROTECTED_TIMEOUT_S = 400
END_TIMEOUT_S = 90
SETTLE_TIMEOUT_S = 60
WARNED_S = 60
POLL_S = 0.1
COMMAND = "remus-spec"
# As pgrep sees them: a process's name has 15 characters.
PROGRAMS = "specrep-primary|specrep-backup|xl-specrep|libxl-save-help"


@dataclasses.dataclass(frozen=True)
class End:
    """How `xl remus-spec` ended."""

    status: int
    stderr: str
    seconds: float  # from when end() was called

    def expect(self, status, *words):
        """Asserts the exit status, and that there was one error, with these words; none without words."""
        assert self.status == status, f"exit status {self.status}, expected {status}:\n{self.stderr}"
        errors = [line for line in self.stderr.splitlines()
                  if line.startswith(f"xl {COMMAND}: ") and "warning: " not in line]
        assert len(errors) == (1 if words else 0), f"{len(errors)} errors:\n{self.stderr}"
        for word in words:
            assert word in errors[0], f"{word!r} is not in: {errors[0]}"


class Protection:
    """A running `xl remus-spec` on a host. Use it as a context manager: that lets go of its ssh."""

    def __init__(self, lab, guest, options, host=1):
        self.guest = guest
        self.host = host
        self._lab = lab
        base = lab.folder / f"protection-{time.monotonic_ns()}"
        self._out, self._err = base.with_suffix(".out"), base.with_suffix(".err")
        with open(self._out, "w") as out, open(self._err, "w") as err:
            argv = lab.ssh_argv(host, f"exec xl {COMMAND} --json {options} {guest} xen{3 - host}")
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def events(self, kind=None):
        """What it has reported so far, oldest first."""
        text = self._out.read_text()
        events = [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]
        return [event for event in events if kind in (None, event["event"])]

    def stderr(self):
        return self._err.read_text()

    def wait_for(self, predicate, timeout, what, poll_s=POLL_S):
        """As Lab.wait_for(), and fails at once when protection ends."""
        deadline_s = time.monotonic() + timeout
        while True:
            ended = self._process.poll() is not None
            result = predicate()
            if result:
                return result
            assert not ended, f"ended while a test waited for {what}: {self.events('ended')}\n{self.stderr()}"
            assert time.monotonic() < deadline_s, f"waited {timeout} s in vain for {what}\n{self.stderr()}"
            time.sleep(poll_s)

    def wait_until_protected(self, timeout=PROTECTED_TIMEOUT_S):
        self.wait_for(lambda: self.events("protected"), timeout, "the first commit")
        return self

    def status(self):
        """The primary's counters, published at most once a second."""
        entries = [entry for entry in self._lab.protections(self.host) if entry["role"] == "primary"]
        assert len(entries) == 1, entries
        return entries[0]["status"]

    def wait_for_commit(self, epoch, timeout=PROTECTED_TIMEOUT_S, poll_s=POLL_S):
        self.wait_for(lambda: self.status()["committed_epoch"] >= epoch, timeout, f"commit {epoch}", poll_s)

    def end(self, timeout=END_TIMEOUT_S):
        """Waits for its end."""
        start_s = time.monotonic()
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"xl {COMMAND} did not end within {timeout} s:\n{self.stderr()}") from None
        return End(status, self.stderr(), time.monotonic() - start_s)

    def stop(self):
        """Ends it in order."""
        self._lab.ssh(self.host, f"xl remus-spec-stop {self.guest}")
        self.end().expect(0)

    def summary(self):
        """The figures that it gave at its end."""
        return self.events("ended")[-1]["summary"]


@contextlib.contextmanager
def protected_under_load(lab, options, pages_per_s):
    """The lab's guest, protected by host 2, while it dirties pages: its Counter and its Protection."""
    with lab.Counter(lab.GUEST_ADDRESSES[lab.guest]) as counter:
        counter.wait_for_answer(60)
        with lab.protect(options) as protection:
            protection.wait_until_protected()
            counter.dirty(pages_per_s)
            yield counter, protection


def check_warned_of(lab, attach, device):
    """Asserts that a device which the lab's guest gets by a command while it is protected is warned of, and that all else goes on."""
    with lab.Counter(lab.GUEST_ADDRESSES[lab.guest]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            lab.ssh(1, attach)
            protection.wait_for(lambda: protection.events("warning"), WARNED_S, "the warning")
            counter.wait_for_answer(30)
            protection.stop()
        (warning,) = protection.events("warning")
        assert f"{device} of {lab.guest} was attached while it is protected" in warning["what"], warning
        assert f"remus-spec-stop {lab.guest}" in warning["advice"], warning
        counter.wait_for_answer(60)
        counter.check_continuous()


def log_dirty(lab, guest):
    """Whether Xen logs the pages that the guest dirties, which makes each of its first writes dear."""
    domid = lab.ssh(1, f"xl domid {guest}").stdout.strip()
    lab.ssh(1, "xl dmesg -c >/dev/null; xl debug-keys q")
    paging = f"General information for domain {domid}:"
    text = lab.wait_for(lambda: _after(lab.ssh(1, "xl dmesg").stdout, paging, "Rangesets"), 30, "Xen's answer")
    return "log_dirty" in text


def _after(text, start, end):
    """What stands between two words, or None if they are not there yet."""
    _, found, rest = text.partition(start)
    inside, ended, _ = rest.partition(end)
    return inside if found and ended else None


def check_unprotected(lab, counter, guest=None):
    """Asserts that the guest counts on at host 1, and that nothing of its protection is left anywhere."""
    guest = guest or lab.guest
    counter.wait_for_answer(SETTLE_TIMEOUT_S)
    counter.check_continuous()
    assert counter.troubles() == [], counter.troubles()
    if lab.is_running(2):
        lab.wait_for(lambda: lab.domains(2) == [], SETTLE_TIMEOUT_S, "the end of the copy on host 2")
    check_nothing_left(lab)
    assert guest in lab.domains(1), lab.domains(1)


def check_nothing_left(lab):
    """Asserts that no host that runs has a process or an entry of a protection."""
    for host in filter(lab.is_running, lab.machines):
        lab.wait_for(lambda: lab.ssh(host, f"pgrep -l '{PROGRAMS}'", check=False).stdout == "",
                     SETTLE_TIMEOUT_S, f"the end of {PROGRAMS} on host {host}")
        assert lab.protections(host) == [], lab.protections(host)
        assert lab.output_buffers(host) == [], lab.output_buffers(host)
