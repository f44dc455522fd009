"""A protected guest that powers off, crashes or is destroyed ends its protection with one word, and the copy goes."""

from protection import check_nothing_left

GUEST = "pvh"
ON_REQUEST = True
GONE = "no longer exists"
ENDS = {"poweroff": "has shut down", "crash": "has crashed", "destroy": GONE}


def run(lab):
    address = lab.GUEST_ADDRESSES["pvh"]
    for what, said in ENDS.items():
        if lab.domains(1) == []:
            lab.ssh(1, "xl create -q /root/pvh.cfg", timeout=120)
        lab.ask(address, "peek", 120)
        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            if what == "destroy":
                lab.ssh(1, "xl destroy pvh")
            else:
                lab.guest_power(address, what)
            protection.end().expect(0)
        ended = protection.events("ended")[-1]
        assert ended["reason"] == "guest-ended", (what, ended)
        # specrep-monitor, which destroys the rest as the guest's configuration says, may be the
        # first to see it.
        assert said in ended["what"] or GONE in ended["what"], (what, ended)
        lab.wait_for(lambda: lab.domains(1) == [], 60, f"the guest's end by {what}")
        lab.wait_for(lambda: lab.domains(2) == [], 60, "the end of the copy on host 2")
        check_nothing_left(lab)
