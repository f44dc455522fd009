"""A lab's networks: bridges and taps in a network namespace of its own, so that labs never meet.

Three bridges join the hosts, one for each of a host's cards:
  mgmt   10.77.0.N        how the tests reach the hosts (the tests' end: 10.77.0.254)
  rep    192.168.77.N     the replication link; the namespace has no address on it
  guest  192.168.88.0/24  the guests, and outside all hosts their client (192.168.88.254)
The last has IPv6, too (fd00:88::/64), and more networks for guests with several cards.
"""

import hashlib
import json
import subprocess

from common import run

PURPOSES = ("mgmt", "rep", "guest")
# A lab has these hosts, or all.
HOSTS = (1, 2)
ALL_HOSTS = (*HOSTS, 3)
CLIENT_ADDRESS = "192.168.88.254"
MANAGEMENT_ADDRESS = "10.77.0.254"
# These start when the test wants it, because their disks need specrep's programs.
DISK_GUEST, DATABASE_GUEST = DISK_GUESTS = ("disk", "database")
WORKLOADS = ("oltp", "fileserver", "mail", "redis", "compiler", "javascript", "web", "mariadb", "java", "etcd")
GUEST_ADDRESSES = {"pvh": "192.168.88.51", "hvm": "192.168.88.52",
                   DISK_GUEST: "192.168.88.54", DATABASE_GUEST: "192.168.88.55",
                   # One runs at a time, so they share one.
                   **{workload: "192.168.88.53" for workload in WORKLOADS}}


# How many a guest may have; each is in a network of its own (guest/init).
CARDS_MAX = 3


def card_address(address, card):
    """The address of a guest's other card, where `address` is its first one's."""
    parts = address.split(".")
    return ".".join([*parts[:2], str(int(parts[2]) + card), parts[3]])


def ipv6_address(address):
    """The IPv6 address that a guest or the client has beside this one."""
    _, _, network, host = address.split(".")
    return f"fd00:{network}::{host}"


def management_address(host):
    return f"10.77.0.{host}"


def replication_address(host):
    return f"192.168.77.{host}"


def tap(purpose, host):
    return f"{purpose}{host}"


def mac(purpose, host):
    """Must match what recipe/dom0/usr/local/sbin/labnet looks for."""
    return f"52:54:00:{PURPOSES.index(purpose):02x}:00:{host:02x}"


class Network:
    def __init__(self, lab_path):
        self.name = "specrep-lab-" + hashlib.sha256(str(lab_path).encode()).hexdigest()[:8]

    def inside(self, argv):
        """The command that runs `argv` in this namespace."""
        return ["ip", "netns", "exec", self.name, *[str(word) for word in argv]]

    def up(self):
        self.down()
        run(["ip", "netns", "add", self.name], "make the lab's network namespace")
        lines = ["link set lo up"]
        for purpose in PURPOSES:
            lines.append(f"link add name {purpose} type bridge forward_delay 0 mcast_snooping 0")
            lines.append(f"link set {purpose} up")
            for host in ALL_HOSTS:
                lines.append(f"tuntap add dev {tap(purpose, host)} mode tap vnet_hdr")
                lines.append(f"link set {tap(purpose, host)} master {purpose} up")
        lines.append(f"address add {MANAGEMENT_ADDRESS}/24 dev mgmt")
        for card in range(CARDS_MAX):
            address = card_address(CLIENT_ADDRESS, card)
            lines.append(f"address add {address}/24 dev guest")
            lines.append(f"address add {ipv6_address(address)}/64 dev guest nodad")
        for line in lines:
            self._ip(line)

    def down(self):
        """Removes the namespace if there is one."""
        subprocess.run(["ip", "netns", "delete", self.name], stderr=subprocess.DEVNULL)

    def partition(self):
        """Cuts the replication link. The hosts' cards keep their carrier: it is QEMU that has the tap."""
        for host in ALL_HOSTS:
            self._ip(f"link set {tap('rep', host)} nomaster")

    def heal(self):
        for host in ALL_HOSTS:
            self._ip(f"link set {tap('rep', host)} master rep")

    def forget_neighbours(self):
        """Lets the client ask again who has the guests' addresses, as it does from time to time."""
        self._ip("neighbour flush dev guest")

    def is_joined(self):
        shown = run(["ip", "-n", self.name, "-j", "link", "show", "master", "rep"], "look at the replication link")
        return len(json.loads(shown.stdout or "[]")) == len(ALL_HOSTS)

    def _ip(self, line):
        run(["ip", "-n", self.name, *line.split()], f"set up the lab's network ({line})")
