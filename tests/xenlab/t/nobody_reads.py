"""Nobody reads on what xl remus-spec says, as on a stopped terminal: it protects, and does what is to be done, all the same."""

from protection import check_unprotected

GUEST = "pvh"
ON_REQUEST = True
OPTIONS = "--json -i 100 --timeout 3000 --verify=10"
PROTECTED_MAX_S = 120
EPOCHS = 50
PIPE = "/run/said"


def committed(lab):
    return sum(entry["status"].get("committed_epoch", 0) for entry in lab.protections(1))


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES[GUEST]) as counter:
        counter.wait_for_answer(60)
        # It is full, and who holds it open takes nothing from it.
        lab.ssh(1, f"mkfifo {PIPE} && setsid -f sleep 1000 <>{PIPE} >/dev/null 2>&1 && "
                   f"dd if=/dev/zero of={PIPE} bs=64k count=1 oflag=nonblock 2>/dev/null")
        lab.ssh(1, f"setsid -f xl remus-spec {OPTIONS} {GUEST} xen2 </dev/null >{PIPE} 2>&1")
        lab.wait_for(lambda: committed(lab) >= EPOCHS, PROTECTED_MAX_S, f"{EPOCHS} commits")
        counter.wait_for_answer(10)
        lab.ssh(1, "pkill -KILL -x specrep-primary")
        check_unprotected(lab, counter)
        log = lab.ssh(2, f"cat /var/log/specrep/{GUEST}.log").stdout
        assert f"discarded the copy of guest {GUEST}" in log and "activating" not in log, log
