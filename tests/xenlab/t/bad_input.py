"""What cannot be done is refused with one message and a non-zero exit, and the guest runs on untouched."""

from protection import End

GUEST = "pvh"
FAILED, USAGE = 1, 2
# Of the replication network; nobody has it.
NOBODY = "192.168.77.99"
# A Hello that asks for protocol 99: length, Envelope{hello{protocol_min, protocol_max, software, host}}.
HELLO_99 = r"printf '\021\000\000\000\022\017\010\143\020\143\042\0039.0\052\004xen9'; sleep 5"
SHOUT = "echo Welcome to this machine, which prints a greeting"


def run(lab):
    def refused(status, arguments, *words):
        done = lab.ssh(1, f"xl remus-spec {arguments}", check=False)
        End(done.returncode, done.stderr, 0).expect(status, *words)
        assert done.stdout == "", done.stdout

    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        refused(FAILED, f"nosuch xen2", "nosuch")
        refused(USAGE, "-N nosuch pvh xen2", "cannot run /etc/xen/scripts/nosuch")
        refused(FAILED, "--arbiter etcd:ftp://a pvh xen2", "ftp")
        refused(FAILED, "--arbiter file:/nosuch pvh xen2", "/nosuch")
        refused(FAILED, "--arbiter etcd:http://10.77.0.99:1 pvh xen2", "10.77.0.99")
        refused(USAGE, "-n pvh xen2", "refused without -F")
        refused(USAGE, f"pvh", "HOST is missing")
        refused(USAGE, f"-i 1 pvh xen2", "--interval")
        refused(USAGE, "--no-such-option pvh xen2", "--no-such-option")
        refused(FAILED, f"Domain-0 xen2", "dom0 itself")

        refused(FAILED, f"pvh {NOBODY}", f"cannot reach {NOBODY}")
        refused(FAILED, f"-s '' pvh '{SHOUT}'", "message")
        refused(FAILED, f"-s '' pvh \"{HELLO_99}\"", "xen9", "9.0", "protocol 99")
        refused(FAILED, f"-s '' pvh 'exit 3'", "did not start (exit status 3)")
        refused(FAILED, f"pvh xen1", "has the guest's uuid")
        lab.ssh(2, "mv /usr/local/sbin/xl /usr/local/sbin/xl.away")
        refused(FAILED, f"pvh xen2", "specrep is not installed on xen2")
        lab.ssh(2, "mv /usr/local/sbin/xl.away /usr/local/sbin/xl")

        take_memory(lab)
        refused(FAILED, f"pvh xen2", "memory on the backup", "free")
        lab.ssh(2, "xl destroy hog")

        lab.ssh(1, "xl create /root/pvh-nosuspend.cfg")
        refused(FAILED, f"nosuspend xen2", "has not said that it can be suspended")
        # One that says so, and does not.
        lab.ssh(1, 'xenstore-write "/local/domain/$(xl domid nosuspend)/control/feature-suspend" 1')
        refused(FAILED, f"--timeout 5000 nosuspend xen2", "did not answer the request to suspend",
                "nosuspend runs on, unprotected")

        with lab.protect("--timeout 5000") as protection:
            protection.wait_until_protected()
            refused(FAILED, f"pvh xen2", "pvh is already protected")
            lab.ssh(1, "xl remus-spec-stop pvh")
            protection.end().expect(0)

        counter.wait_for_answer(60)
        counter.check_continuous()
        assert counter.troubles() == [], counter.troubles()
        assert lab.domains(1) == ["pvh", "nosuspend"], lab.domains(1)
        lab.wait_for(lambda: lab.domains(2) == [], 60, "an empty host 2")


def take_memory(lab):
    """Leaves less memory on host 2 than the guest needs: a paused guest of nothing but memory has the rest."""
    free_mib = int(lab.ssh(2, "xl info free_memory").stdout)
    lab.ssh(2, f"sed -e s/nosuspend/hog/ -e 's/^memory.*/memory = {free_mib - 64}/' -e 's,hog.elf,nosuspend.elf,' "
               "/root/pvh-nosuspend.cfg >/root/hog.cfg && xl create -p /root/hog.cfg", timeout=180)
