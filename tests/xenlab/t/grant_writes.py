"""What a disk's backend writes into a guest is not in Xen's dirty log, and all of it is where the grant table says."""

import json
import threading
import time

import probes
from disk import CHURN_PER_S, journal_load

GUEST = "disk"
ON_REQUEST = True
ROUNDS = 6
# The guest runs for so long between two looks at all of its memory.
RUN_MS = 1500


def run(lab):
    lab.start_disk_guest()
    probe = probes.install(lab, "grant-writes")
    domid = lab.ssh(1, f"xl domid {lab.guest}").stdout.strip()
    output = []
    watch = threading.Thread(
        target=lambda: output.append(lab.ssh(1, f"{probe} {domid} {ROUNDS} {RUN_MS}", 600).stdout))
    with journal_load(lab) as journal:
        journal.churn(CHURN_PER_S)
        time.sleep(5)
        watch.start()
        # What was written, then a reading of the whole disk past the guest's cache.
        time.sleep(5)
        journal.check()
        watch.join()
    rounds = [json.loads(line) for line in output[0].splitlines()]
    assert len(rounds) == ROUNDS, rounds
    others = sorted({gfn for of in rounds for gfn in of["behind_others"]})
    print(f"{ROUNDS} times {RUN_MS} ms: in the log {[of['logged'] for of in rounds]} pages; changed and not in it "
          f"{[of['behind'] for of in rounds]}, of these mapped writable {[of['behind_mapped'] for of in rounds]}; "
          f"others {others}; mapped writable in all {[of['mapped_writable'] for of in rounds]}")
    assert any(of["behind_mapped"] for of in rounds), "nothing was written behind the log: the test shows nothing"
    assert not others, f"written behind the log, and the grant table does not tell: {others}"
