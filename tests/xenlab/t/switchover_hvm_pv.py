"""A planned switchover of an HVM guest with PV drivers, whose emulated card is unplugged: nothing is lost on the way."""

from switchover import switch_over

GUEST = "hvm"
ON_REQUEST = True
WITH_DRIVERS = "-e 's/xen_nopv //' -e 's/^xen_platform_pci = 0/xen_platform_pci = 1/' -e 's/,model=e1000//'"
OPTIONS = "-i 500 --timeout 5000"
INTERVAL_MS = 100
GUEST_TIMEOUT_S = 180


def run(lab):
    file = f"/root/{lab.guest}.cfg"
    lab.ssh(1, f"xl destroy {lab.guest} && sed -i {WITH_DRIVERS} {file} && xl create -q {file}", GUEST_TIMEOUT_S)
    lab.ask(lab.GUEST_ADDRESSES[lab.guest], "peek", GUEST_TIMEOUT_S)
    # The PV driver has the card, not the emulated one's.
    assert lab.ssh(1, "cat /sys/class/net/vif*.0/carrier").stdout.strip() == "1"
    there = switch_over(lab, 1, OPTIONS, interval_ms=INTERVAL_MS)
    back = switch_over(lab, 2, OPTIONS, interval_ms=INTERVAL_MS)
    assert there.lost == back.lost == [], f"{there}; {back}"
    print(f"to host 2: {there}; back: {back}")
