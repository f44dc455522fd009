"""No frame of a protected guest, of any ethertype, leaves host 1 before its epoch is committed."""

from frames import watch
from network import tap

GUEST = ("pvh", "hvm")
ON_REQUEST = ("hvm",)
EPOCH_MS = 60_000  # longer than all that is watched
WATCH_S = 8
PROTOCOLS = {"arp", "ipv4", "ipv6"}
# What stock Remus's script redirects.
IP_ONLY = ("sed 's/protocol all matchall/protocol ip matchall/' /usr/local/libexec/specrep/specrep-netbuf "
           ">/root/ip-only && chmod +x /root/ip-only")


def run(lab):
    address = lab.GUEST_ADDRESSES[lab.guest]
    mac = lab.macs()[0]

    def sent():
        return watch(lab.network, tap("guest", 1), mac, address, WATCH_S)

    lab.ask(address, "peek")
    open_before = sent()
    assert PROTOCOLS <= set(open_before), f"unprotected, the guest answers in every protocol: {open_before}"

    held = protected(lab, "", sent)
    assert held == {}, f"these left before their commit: {held}"

    lab.ssh(1, IP_ONLY)
    leaked = protected(lab, "-N /root/ip-only", sent)
    assert set(leaked) == PROTOCOLS - {"ipv4"}, f"redirecting IPv4 alone should leak the others: {leaked}"

    open_after = sent()
    assert PROTOCOLS <= set(open_after), f"with protection stopped the guest should answer: {open_after}"
    print(f"in {WATCH_S} s: unprotected {open_before}, protected {held}, with `proto ip` {leaked}, "
          f"stopped {open_after}")


def protected(lab, options, sent):
    with lab.protect(f"-i {EPOCH_MS} --timeout 60000 {options}") as protection:
        protection.wait_until_protected()
        seen = sent()
        lab.ssh(1, f"xl remus-spec-stop {lab.guest}", timeout=120)
        protection.end(120).expect(0)
    return seen
