"""A protected guest that somebody pauses stays paused, and goes on when it is let go."""

import time

from protection import check_unprotected

GUEST = "pvh"
ON_REQUEST = True
END_MAX_S = 30
EPOCHS = 5


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES[GUEST]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            lab.ssh(1, f"xl pause {GUEST}")
            deadline_s = time.monotonic() + END_MAX_S
            while not protection.events("ended") and time.monotonic() < deadline_s:
                time.sleep(1)
            state = lab.ssh(1, f"xl list {GUEST} | tail -n 1").stdout.split()[4]
            assert state == "--p---", state
            ended = bool(protection.events("ended"))
            print("protection ended" if ended else "paused on its way to a checkpoint: protection waits")
            if ended:
                protection.end().expect(1, f"guest {GUEST} is paused by another tool")
            lab.ssh(1, f"xl unpause {GUEST}")
            counter.wait_for_answer(60)
            if not ended:
                protection.wait_for_commit(protection.status()["committed_epoch"] + EPOCHS)
                protection.stop()
        check_unprotected(lab, counter)
