"""When specrep-primary is killed while it has the guest stopped, the guest counts on and the copy goes."""

from fault import KILL_WHILE_STOPPED, primary_killed
from protection import log_dirty

GUEST = ("pvh", "hvm")
ON_REQUEST = ("hvm",)


def run(lab):
    # Longer than specrep-primary may be halted in all.
    killed = primary_killed(lab, "-i 100", KILL_WHILE_STOPPED.format(guest=lab.guest), timeout_ms=60_000)
    assert "resumed" in killed.error, killed.error
    assert not log_dirty(lab, lab.guest)
