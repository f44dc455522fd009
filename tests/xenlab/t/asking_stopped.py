"""While the arbiter hangs and the link is cut, a guardian that is stopped or killed leaves the guest held; its copy goes on."""

from explain import wait_for_failover
from fault import GONE_S, PARTITION_TIMEOUT_MS

GUEST = ("pvh", "hvm")
ON_REQUEST = True
SIGNALS = {"pvh": "INT", "hvm": "KILL"}
ASKING = "is held until the arbiter answers"


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES[lab.guest]) as counter, lab.Observer() as observer, lab.etcd() as etcd:
        counter.wait_for_answer(60)
        with lab.protect(f"--timeout {PARTITION_TIMEOUT_MS} --arbiter {etcd.url}") as protection:
            protection.wait_until_protected()
            counter.wait_for_answer(30)
            etcd.hang()
            lab.partition()
            protection.wait_for(lambda: ASKING in protection.stderr(), GONE_S, "the primary to ask")
            lab.ssh(1, f"pkill -{SIGNALS[lab.guest]} -x xl-specrep")
            end = protection.end()
        if SIGNALS[lab.guest] == "INT":
            end.expect(1, f"{lab.guest} is paused and its network held")
        assert lab.domains(2) == [f"{lab.guest}--incoming"]
        etcd.go_on()
        wait_for_failover(lab, 2, lab.guest, GONE_S)
        counter.wait_for_answer(GONE_S)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
        assert lab.output_buffers(1) != []
        refused = lab.ssh(1, f"xl remus-spec-stop {lab.guest}", check=False)
        assert refused.returncode == 1 and "may run on" in refused.stderr, refused
        observer.check_one_speaker(2)
