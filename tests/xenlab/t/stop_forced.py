"""When the backup's host dies and nobody is left to ask, the guest stands still until the operator says --force."""

GUEST = "pvh"
ON_REQUEST = True
OPEN_S = 60


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 1000") as protection:
            protection.wait_until_protected()
            counter.wait_for_answer(30)
            lab.power_cut(2)
            protection.end().expect(1, "pvh is paused and its network held")
        refused = lab.ssh(1, "xl remus-spec-stop pvh", check=False)
        assert refused.returncode == 1 and "--force" in refused.stderr, refused
        stopped = lab.ssh(1, "xl remus-spec-stop --force pvh").stdout
        assert "network opened; unpaused" in stopped, stopped
        counter.wait_for_answer(OPEN_S)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
        assert lab.output_buffers(1) == []
        # Whom an administrator paused stays so: there is nothing to force.
        lab.ssh(1, "xl pause pvh")
        refused = lab.ssh(1, "xl remus-spec-stop --force pvh", check=False)
        assert refused.returncode == 1 and "is not protected" in refused.stderr, refused
        assert lab.ssh(1, "xl list pvh").stdout.splitlines()[-1].split()[4][2] == "p"
