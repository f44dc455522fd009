"""A disk that a guest gets while it is protected is not replicated, and a warning says so."""

from protection import check_warned_of

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    check_warned_of(lab, f"truncate -s 8M /root/more && xl block-attach {GUEST} "
                         "format=raw,vdev=xvdb,access=rw,target=$(losetup --find --show /root/more)", "the disk xvdb")
    # Protected again, it would be lost, and so is refused.
    with lab.protect("--timeout 5000") as protection:
        protection.end().expect(1, "xvdb")
