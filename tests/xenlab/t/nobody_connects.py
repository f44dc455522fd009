"""When the primary cannot reach the backup's data link, the guest runs on, and the backup gives up by itself."""

from network import replication_address
from protection import check_unprotected

GUEST = "pvh"
ON_REQUEST = True
# Of the replication network, and nobody's.
NOBODY = 99
# The backup waits for 30 s.
GIVES_UP_S = 90


def run(lab):
    nobody = replication_address(2).rsplit(".", 1)[0] + f".{NOBODY}"
    with lab.Counter(lab.GUEST_ADDRESSES[lab.guest]) as counter:
        counter.wait_for_answer(60)
        with lab.protect(f"--address {nobody}") as protection:
            protection.end().expect(1, nobody)
        lab.wait_for(lambda: lab.ssh(2, "pgrep -x specrep-backup", check=False).returncode == 1, GIVES_UP_S,
                     "the end of specrep-backup")
        log = lab.ssh(2, f"cat /var/log/specrep/{lab.guest}.log").stdout
        assert "nobody with the right key connected to port" in log, log
        check_unprotected(lab, counter)
    lab.ssh(1, f"xl remus-spec-check {lab.guest} xen2")
