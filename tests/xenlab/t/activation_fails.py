"""When libxl cannot finish the domain, the backup says so and leaves nothing behind."""

GUEST = "pvh"
ON_REQUEST = True


def run(lab):
    with lab.protect("--timeout 1000") as protection:
        protection.wait_until_protected()
        lab.ssh(2, "ip link del xenbr0")
        lab.power_cut(1)
        log = lab.wait_for(lambda: "could not be activated" in (text := lab.ssh(2, "cat /var/log/specrep/pvh.log").stdout) and text, 120,
                           "the end of the activation")
        assert "libxl could not restore guest pvh" in log, log
        lab.wait_for(lambda: lab.domains(2) == [], 60, "the end of the copy")
        lab.wait_for(lambda: lab.protections(2) == [], 60, "the end of its entry")
