"""When specrep-primary is killed, even while the guest is stopped, the guest counts on and the copy goes."""

from fault import primary_killed
from protection import log_dirty

GUEST = ("pvh", "hvm")
# Halts specrep-primary again and again, until it is in the middle of a checkpoint.
WHILE_STOPPED = r"""
for i in $(seq 300); do
  pkill -STOP -x specrep-primary
  case $(xl list {guest}) in *ss-\ *) pkill -KILL -x specrep-primary; exit;; esac
  pkill -CONT -x specrep-primary
  sleep 0.0$((i % 10))
done
exit 1"""


def run(lab):
    print(primary_killed(lab))
    # Longer than specrep-primary may be halted in all.
    while_stopped = primary_killed(lab, "-i 100", WHILE_STOPPED.format(guest=lab.guest), timeout_ms=60_000)
    assert "resumed" in while_stopped.error, while_stopped.error
    assert not log_dirty(lab, lab.guest)
