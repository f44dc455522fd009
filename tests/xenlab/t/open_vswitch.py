"""On Open vSwitch, too, nothing leaves before its commit, and the guest goes on at host 2 after a power cut."""

from cut import cut_power
from held import watch_held

GUEST = ("pvh", "hvm")
ON_REQUEST = True
CARD = {"pvh": "mac=00:16:3e:11:22:33,bridge=ovsbr0,script=vif-openvswitch",
        "hvm": "mac=00:16:3e:11:22:44,bridge=ovsbr0,script=vif-openvswitch,model=e1000"}
# The host's card in the guests' network goes from the kernel's bridge to a new one.
SWITCH = """
/usr/share/openvswitch/scripts/ovs-ctl --no-ovs-record-hostname --system-id=random start &&
card=$(cd /sys/class/net/xenbr0/brif && ls -d eth*) &&
ip link set "$card" nomaster &&
ovs-vsctl add-br ovsbr0 -- add-port ovsbr0 "$card" &&
ip link set ovsbr0 up"""
# Open vSwitch looks at a port again when something about it has changed, and at all when one is added.
CHANGES = """
for vif in $(cd /sys/class/net && ls -d vif*); do
  ip link set "$vif" txqueuelen 900 && ip link set "$vif" txqueuelen 901
done
ip link add other type dummy && ovs-vsctl add-port ovsbr0 other &&
ovs-vsctl del-port ovsbr0 other && ip link del other"""
# Of the kernel's two hooks for filters, the one that Open vSwitch takes for its own.
ITS_HOOK = ("sed 's/clsact/ingress/' /usr/local/libexec/specrep/specrep-netbuf "
            ">/root/its-hook && chmod +x /root/its-hook")


def run(lab):
    lab.ssh(1, SWITCH)
    lab.restart_guest([CARD[lab.guest]])
    check = lab.ssh(1, f"xl remus-spec-check {lab.guest} xen2", check=False)
    assert check.returncode != 0 and "missing: ovsbr0" in check.stdout + check.stderr, check
    lab.ssh(2, SWITCH)
    lab.ssh(1, f"xl remus-spec-check {lab.guest} xen2")

    sent = watch_held(lab, "", CHANGES)
    assert sent == {}, f"these left before their commit: {sent}"
    lab.ssh(1, ITS_HOOK)
    leaked = watch_held(lab, "-N /root/its-hook", CHANGES)
    assert {"ipv4", "ipv6"} <= set(leaked), f"Open vSwitch should remove what is at its hook: {leaked}"
    result = cut_power(lab, "-i 200 --timeout 1000")
    result.check()
    assert "vif-openvswitch" in lab.ssh(2, f"xl list -l {lab.guest}").stdout
    assert result.frames["rarp"] == 1, result.frames
    print(f"with the other hook, {leaked} left before their commit; {result}")
