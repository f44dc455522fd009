"""When specrep-primary is killed, the guest counts on and the copy goes."""

from fault import primary_killed
from protection import log_dirty

GUEST = ("pvh", "hvm")
# A guest with a device model, which is told to go on, too; primary_killed_stopped is run with the other.
ON_REQUEST = ("pvh",)


def run(lab):
    print(primary_killed(lab))
    assert not log_dirty(lab, lab.guest)
