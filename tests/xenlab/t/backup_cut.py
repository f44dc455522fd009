"""When the backup's host loses its power, the guest goes on with what etcd grants; its connection too."""

GUEST = "pvh"
OPEN_S = 60


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter, lab.etcd() as etcd:
        counter.wait_for_answer(60)
        with lab.protect(f"--timeout 1000 --arbiter {etcd.url}") as protection:
            protection.wait_until_protected()
            counter.wait_for_answer(30)
            lab.power_cut(2)
            protection.end().expect(1, "pvh runs on, unprotected")
        counter.wait_for_answer(OPEN_S)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
        assert lab.output_buffers(1) == []
        longest_s = counter.longest_gap_s()
    print(f"the longest time without an answer was {longest_s:.1f} s")
