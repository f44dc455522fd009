"""Protection that is stopped, by remus-spec-stop or Ctrl-C, leaves the guest counting and nothing else."""

import signal

from protection import check_unprotected

GUEST = "pvh"


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 3000") as protection:
            protection.wait_until_protected()
            assert lab.domains(2) == ["pvh--incoming"]
            stop = lab.ssh(1, "xl remus-spec-stop pvh")
            assert stop.stdout == "pvh runs on, unprotected\n", stop.stdout
            protection.end().expect(0)
        check_unprotected(lab, counter)
        again = lab.ssh(1, "xl remus-spec-stop pvh", check=False)
        assert again.returncode == 1 and "pvh is not protected" in again.stderr, again

        with lab.protect("--timeout 3000") as protection:
            protection.wait_until_protected()
            lab.ssh(1, "pkill -INT -x xl-specrep")
            protection.end().expect(128 + signal.SIGINT, "protection stopped; pvh runs on, unprotected")
        check_unprotected(lab, counter)
