"""Without output buffering (-n) a power cut loses what clients have seen: the checks can fail."""

from cut import cut_power
from witness import REQUESTS

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    # Long epochs, so that something is seen of the last one whenever the cut comes.
    result = cut_power(lab, "-F -n -i 3000 --timeout 1000")
    try:
        result.check()
    except AssertionError as error:
        print(f"caught: {error}")
    else:
        raise AssertionError(f"nothing was lost, or the check does not see it: {result}")
    assert set(result.lost) == {f"eth0-{kind}" for kind in REQUESTS}, result.lost
    print(result.lost)
