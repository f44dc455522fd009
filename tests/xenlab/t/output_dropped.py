"""When the backup is slow and the buffer full, the operator hears how many frames were dropped, and protection goes on."""

from frames import watch
from network import tap

GUEST = "pvh"
ON_REQUEST = True
FLOOD_S = 20  # at 280 kB/s more than both queues of 1 MiB hold


def run(lab):
    address = lab.GUEST_ADDRESSES["pvh"]
    mac = lab.ssh(1, "xl network-list pvh | awk 'NR == 2 {print $3}'").stdout.strip()
    with lab.Counter(address) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 60000 --buffer 1") as protection:
            protection.wait_until_protected()
            lab.ssh(2, "pkill -STOP -x specrep-backup")
            watch(lab.network, tap("guest", 1), mac, address, FLOOD_S, "flood")
            lab.ssh(2, "pkill -CONT -x specrep-backup")
            protection.wait_for(lambda: any("dropped" in event["what"] for event in protection.events("warning")), 30,
                                "a warning that frames are dropped")
            counter.wait_for_answer(60)  # what TCP has lost it sends again
            lab.ssh(1, "xl remus-spec-stop pvh", timeout=120)
            protection.end().expect(0)
            summary = protection.summary()
        counter.wait_for_answer(60)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
    assert summary["output_dropped_frames"] > 0, summary
    print(f"{summary['output_dropped_frames']} frames dropped")
