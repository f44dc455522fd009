"""When what a disk's link carries is changed on its way, protection ends, and the guest sees at worst a pause."""

import time

from disk import CALM_PER_S, CHURN_PER_S, check_disk, check_equal, journal_load, link_port
from journal import summary
from protection import check_nothing_left

GUEST = "disk"
ON_REQUEST = True
OPTIONS = "--timeout 10000"
# The replication link's card.
CARD = "eth1"
# From the start of the IP header: behind TCP's, with its options, and that of a TLS record.
BYTE = 64


def run(lab):
    lab.start_disk_guest()
    with journal_load(lab) as journal:
        # What is written, where it arrives; and what is answered to that.
        for host, end in ((2, "dport"), (1, "sport")):
            with lab.protect(OPTIONS) as protection:
                protection.wait_until_protected()
                journal.churn(CHURN_PER_S)
                journal.wait_for_all(60)
                since_ns = time.monotonic_ns()
                corrupt(lab, host, f"ip {end} {link_port(lab)}")
                ended = protection.end()
                print(ended.stderr.strip().splitlines()[-1])
                ended.expect(1, f"{lab.guest} runs on, unprotected")
            assert changed_packets(lab, host) > 0
            heal(lab, host)
            journal.churn(CALM_PER_S)
            journal.wait_for_all(60)
            print(f"nothing acknowledged for {journal.longest_gap_s(since_ns):.2f} s")
            lab.wait_for(lambda: lab.domains(2) == [], 60, "the end of the copy on host 2")
            check_nothing_left(lab)
        with lab.protect(OPTIONS) as protection:
            protection.wait_until_protected()
            print(summary(journal.check()))
            protection.stop()
        check_equal(lab)
        check_disk(lab, journal, 1)


def corrupt(lab, host, match):
    """Changes a byte of each packet with data that comes to a host, and its checksum, so that TCP takes it for good."""
    lab.ssh(host, f"tc qdisc add dev {CARD} clsact && tc filter add dev {CARD} ingress protocol ip prio 1 "
                  f"u32 match {match} 0xffff action pedit munge offset {BYTE} u8 invert pipe action csum tcp")


def changed_packets(lab, host):
    shown = lab.ssh(host, f"tc -s filter show dev {CARD} ingress").stdout.split()
    return int(shown[shown.index("Sent") + 3])


def heal(lab, host):
    lab.ssh(host, f"tc qdisc del dev {CARD} clsact")
