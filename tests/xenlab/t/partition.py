"""When the link is cut and there is no arbiter, the side that yields stands still: one copy answers, the same."""

from fault import partition_primary_yields

GUEST = ("pvh", "hvm")
ON_REQUEST = True


def run(lab):
    print(partition_primary_yields(lab))
