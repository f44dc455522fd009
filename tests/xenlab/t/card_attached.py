"""A network card that a guest gets while it is protected is not held back, and a warning says so."""

from protection import check_warned_of

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    check_warned_of(lab, f"xl network-attach {GUEST} bridge=xenbr0", ".1")
    assert lab.output_buffers(1) == []
    # Protected again, it is held as the first one is.
    with lab.protect("--timeout 5000") as protection:
        protection.wait_until_protected()
        assert len(lab.output_buffers(1)) == 4, lab.output_buffers(1)
        protection.stop()
    assert protection.events("warning") == []
