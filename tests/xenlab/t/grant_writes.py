"""What a disk's backend writes into a guest is not in Xen's dirty log, and all of it is where the grant table says."""

import json

import probes

GUEST = ("oltp", "fileserver")
ON_REQUEST = True
ROUNDS = 6
# The guest runs for so long between two looks at all of its memory.
RUN_MS = 3000


def run(lab):
    probe = probes.install(lab, "grant-writes")
    domid = lab.ssh(1, f"xl domid {lab.guest}").stdout.strip()
    before = lab.workload()
    rounds = [json.loads(line) for line in lab.ssh(1, f"{probe} {domid} {ROUNDS} {RUN_MS}", 600).stdout.splitlines()]
    after = lab.workload()
    assert len(rounds) == ROUNDS and after["operations"] > before["operations"]
    others = sorted({gfn for of in rounds for gfn in of["behind_others"]})
    print(f"{ROUNDS} times {RUN_MS} ms, {after['operations'] - before['operations']} operations: in the log "
          f"{[of['logged'] for of in rounds]} pages; changed and not in it {[of['behind'] for of in rounds]}, of these "
          f"mapped writable {[of['behind_mapped'] for of in rounds]}; others {others}; mapped writable in all "
          f"{[of['mapped_writable'] for of in rounds]}")
    assert any(of["behind_mapped"] for of in rounds), "nothing was written behind the log: the test shows nothing"
    assert not others, f"written behind the log, and the grant table does not tell: {others}"
