"""When the link is cut, a folder that both hosts mount by NFS lets one copy go on; clients see one guest."""

from fault import partition_with_arbiter

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    with lab.shared_folder() as folder:
        print(partition_with_arbiter(lab, f"--arbiter {folder.url}"))
