"""When host 1's power is cut, the guest goes on on host 2 with all that its last commit must contain."""

import time

from explain import Watch, failover_times, must_be_known, wait_for_failover

GUEST = ("pvh", "hvm")
TIMEOUT_MS = 1000
SAMPLES_MIN = 3
FAILOVER_TIMEOUT_S = 90
# A host's clock is measured through ssh.
CLOCK_ERROR_S = 0.3


def run(lab):
    address = lab.GUEST_ADDRESSES[lab.guest]
    with lab.Counter(address) as counter:
        counter.wait_for_answer(60)
        with lab.protect(f"-i 200 --timeout {TIMEOUT_MS}") as protection:
            protection.wait_until_protected()
            watch = Watch(lab, lab.guest, counter)
            protection.wait_for(lambda: len(watch.samples) >= SAMPLES_MIN, 60, "epochs")
            lab.power_cut(1)
            cut_s = time.time()
            counted = int(lab.ask(address, "peek", FAILOVER_TIMEOUT_S))
            answered_s = time.time()
            watch.stop()

        seen = counter.last_value()
        failover = wait_for_failover(lab, 2, lab.guest, FAILOVER_TIMEOUT_S)
        contained = must_be_known(watch.samples, failover["epoch"])
        assert contained > 0, f"nothing is known of epoch {failover['epoch']}: {watch.samples}"
        # One more than was seen may be counted: its answer was on its way.
        assert contained <= counted <= seen + 1, (
            f"epoch {failover['epoch']} contains {contained} for certain, the client saw {seen}, "
            f"and the guest went on from {counted}; {watch.samples}")

        # The old connection may have gone on with the guest, if its last commit knew all of it, and
        # one answer of it, or its last request, may have been on its way.
        answered, reconnect_ns = max(counted, counter.last_value()), time.monotonic_ns()
        counter.reconnect()
        value = counter.wait_for_answer(60, after_ns=reconnect_ns).value
        assert counted < value <= answered + 2, (counted, answered, value)

        times = failover_times(lab, 2, failover, cut_s, answered_s)
        assert lab.domains(2) == [lab.guest]
        assert failover["guest"] == lab.guest, failover
        assert str(failover["domid"]) == lab.ssh(2, f"xl domid {lab.guest}").stdout.strip(), failover
        assert "nothing heard from the primary" in failover["reason"], failover
        assert failover["silence_ms"] >= TIMEOUT_MS, failover
        assert -CLOCK_ERROR_S < times.detected_s < times.running_s < times.answer_s + CLOCK_ERROR_S, times
        lab.wait_for(lambda: lab.protections(2) == [], 30, "the end of the entry on host 2")
    print(f"after the cut: detected {times.detected_s:.2f} s, running {times.running_s:.2f} s, answered "
          f"{times.answer_s:.2f} s; seen {seen}, epoch {failover['epoch']} contains {contained} "
          f"for certain, went on from {counted}")
