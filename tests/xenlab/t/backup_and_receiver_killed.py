"""When everything of specrep on the backup is killed at once, the guest is held: its copy is there, and nobody can answer for it."""

from protection import check_unprotected

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 2000") as protection:
            protection.wait_until_protected()
            lab.ssh(2, "pkill -KILL 'specrep-backup|xl-specrep'")
            protection.end().expect(1, "pvh is paused and its network held")
        assert lab.domains(2) == ["pvh--incoming"]
        assert "is destroyed" in lab.ssh(2, "xl remus-spec-stop pvh").stdout
        assert lab.domains(2) == []
        assert "unpaused" in lab.ssh(1, "xl remus-spec-stop --force pvh").stdout
        check_unprotected(lab, counter)
