"""A dom0 that runs out of memory kills nothing of ours, and costs its guest at most its protection."""

import time

from network import HOSTS
from protection import PROGRAMS, check_unprotected

GUEST = "pvh"
ON_REQUEST = True

OPTIONS = "-i 500 --timeout 15000"
EPOCHS = 3
DIRTY_PAGES_PER_S = 100
# It takes all memory there is, until the kernel kills it: for a minute and more, nothing else has any.
HOG = "sh -c 'echo 1000 >/proc/self/oom_score_adj; exec tail /dev/zero'"
HOG_MAX_S = 300
ANSWER_MAX_S = 120


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES[GUEST]) as counter:
        counter.wait_for_answer(60)
        counter.dirty(DIRTY_PAGES_PER_S)
        for host in HOSTS:
            with lab.protect(OPTIONS) as protection:
                protection.wait_until_protected()
                start_ns = time.monotonic_ns()
                lab.ssh(host, HOG, HOG_MAX_S, check=False)
                killed = [line for line in lab.ssh(host, "dmesg").stdout.splitlines() if "Out of memory: Killed" in line]
                assert killed and all("(tail)" in line for line in killed), killed
                counter.wait_for_answer(ANSWER_MAX_S)
                if protection.events("ended"):
                    end = protection.end()
                    assert f"{GUEST} runs on, unprotected" in end.stderr, end
                    print(f"host {host}: protection ended: {end.stderr.splitlines()[-2]}")
                else:
                    assert lab.ssh(host, f"pgrep -c '{PROGRAMS}'").stdout.strip() != "0"
                    protection.wait_for_commit(protection.status()["committed_epoch"] + EPOCHS)
                    protection.stop()
                    print(f"host {host}: protection went on")
                check_unprotected(lab, counter)
                print(f"host {host}: no answer for {counter.longest_gap_s(start_ns):.1f} s")
