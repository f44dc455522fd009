"""When specrep-primary is killed, even while the guest is stopped, the guest counts on and the copy goes."""

from fault import KILL_WHILE_STOPPED, primary_killed
from protection import log_dirty

GUEST = ("pvh", "hvm")
ON_REQUEST = ("hvm",)


def run(lab):
    print(primary_killed(lab))
    # Longer than specrep-primary may be halted in all.
    while_stopped = primary_killed(lab, "-i 100", KILL_WHILE_STOPPED.format(guest=lab.guest), timeout_ms=60_000)
    assert "resumed" in while_stopped.error, while_stopped.error
    assert not log_dirty(lab, lab.guest)
