"""A guest that fills its output buffer gets shorter epochs and a warning, and nothing of it is lost."""

from frames import watch
from network import tap

GUEST = "pvh"
ON_REQUEST = True
EPOCH_MS = 60_000  # none ends by itself while this is watched
FLOOD_S = 30
EPOCHS_MIN = 3


def run(lab):
    address = lab.GUEST_ADDRESSES["pvh"]
    mac = lab.macs()[0]
    with lab.Counter(address) as counter:
        counter.wait_for_answer(60)
        with lab.protect(f"-i {EPOCH_MS} --timeout 20000 --buffer 1") as protection:
            protection.wait_until_protected()
            answered = watch(lab.network, tap("guest", 1), mac, address, FLOOD_S, "flood")
            protection.wait_for_commit(EPOCHS_MIN)
            warnings = [event["what"] for event in protection.events("warning")]
            assert any("more than half full" in text for text in warnings), warnings
            lab.ssh(1, "xl remus-spec-stop pvh", timeout=120)
            protection.end(120).expect(0)
            summary = protection.summary()
        counter.wait_for_answer(60)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
    assert summary["output_dropped_frames"] == 0, summary
    assert summary["epoch_ms"] < EPOCH_MS / 2, summary
    print(f"{summary['committed_epoch']} epochs of {summary['epoch_ms']:.0f} ms instead of {EPOCH_MS}, at most "
          f"{summary['output_held_bytes_max']} bytes held, {answered} answered in {FLOOD_S} s")
