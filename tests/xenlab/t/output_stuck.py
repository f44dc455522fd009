"""When the network cannot be opened again, the operator hears why, and what opens it."""

from protection import check_unprotected

GUEST = "pvh"
ON_REQUEST = True
# The usual script, which can be kept from doing this.
SCRIPT = """cat > /root/netbuf <<'X' && chmod +x /root/netbuf
#!/bin/sh
[ "$1" = teardown ] && [ -e /root/stuck ] && { echo "the switch is on fire" >&2; exit 1; }
exec $(dirname $(find /usr -path '*specrep/specrep-primary'))/specrep-netbuf "$@"
X"""


def run(lab):
    lab.ssh(1, SCRIPT)
    with lab.Counter(lab.GUEST_ADDRESSES["pvh"]) as counter:
        counter.wait_for_answer(60)
        with lab.protect("--timeout 5000 -N /root/netbuf") as protection:
            protection.wait_until_protected()
            lab.ssh(1, "touch /root/stuck; xl remus-spec-stop pvh", check=False)
            protection.end().expect(1, "pvh runs, but its network is held", "the switch is on fire")
        assert lab.output_buffers(1) != []
        assert "network opened" in lab.ssh(1, "xl remus-spec-stop --force pvh").stdout
        check_unprotected(lab, counter)
