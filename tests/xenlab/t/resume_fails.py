"""A stopped guest that cannot be made to run when specrep-primary dies is said to be stopped, and remus-spec-stop lets
it run."""

import probes
from fault import KILL_WHILE_STOPPED
from protection import check_unprotected

GUEST = "pvh"
ON_REQUEST = True
PLUGIN = "/usr/local/libexec/specrep/xl-specrep"
KILL_MAX_S = 180


def run(lab):
    refuse = probes.install(lab, "refuse-resume")
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        lab.ssh(1, f"mv {PLUGIN} {PLUGIN}.real && printf '#!/bin/sh\\nLD_PRELOAD={refuse} exec {PLUGIN}.real \"$@\"' "
                   f">{PLUGIN} && chmod +x {PLUGIN}")
        with lab.protect("-i 100 --timeout 60000") as protection:
            protection.wait_until_protected()
            lab.ssh(1, KILL_WHILE_STOPPED.format(guest="pvh"), timeout=KILL_MAX_S)
            protection.end().expect(1, "specrep-primary died", "pvh is stopped", "letting pvh", "run again")
        lab.ssh(1, f"mv {PLUGIN}.real {PLUGIN}")
        assert lab.domains(1) == ["pvh"] and len(counter.troubles()) == 0
        stopped = lab.ssh(1, "xl remus-spec-stop pvh").stdout
        assert "pvh runs on, unprotected" in stopped and "resumed" in stopped, stopped
        check_unprotected(lab, counter)
