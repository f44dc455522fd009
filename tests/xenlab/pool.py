"""A pool of the lab's hosts, made of packages as its administrator would, small guests, and what the agents say of them."""

import dataclasses
import json
import subprocess
import time
import uuid

import deb
from network import management_address, replication_address

SERVICES = "specrep-listener specrep-agent"
HOST_MEMORY_MIB = 800
COMMAND_TIMEOUT_S = 180


@dataclasses.dataclass(frozen=True)
class Guest:
    name: str
    address: str
    uuid: str


def make_guest(lab, name, address, number=1):
    """The configuration of a small guest, /etc/xen/NAME.cfg, on all hosts. Returns the Guest."""
    guest = Guest(name, address, str(uuid.UUID(int=number << 64 | 0x4000800000000000 + number)))
    text = lab.ssh(1, "cat /root/pvh.cfg").stdout
    text = (text.replace('"pvh"\ntype', f'"{guest.name}"\nuuid = "{guest.uuid}"\ntype')
            .replace("192.168.88.51", guest.address).replace("11:22:33", f"11:33:{number:02}"))
    assert guest.uuid in text and guest.address in text, text
    for host in lab.machines:
        subprocess.run(lab.ssh_argv(host, f"cat > /etc/xen/{name}.cfg"), input=text, text=True, check=True, timeout=60)
    return guest


class Pool:
    """Installs the packages, and makes the hosts a pool with some guests, which its agents start."""

    def __init__(self, lab, guests, ha=(), parameters=lambda number: "preferred-host=xen1", packages=None):
        self.lab = lab
        deb.install_everywhere(lab, packages)
        self.guests = [make_guest(lab, f"small{n}", f"192.168.88.{60 + n}", n) for n in range(1, guests + 1)]
        for host in lab.machines:
            where = (f"--address {management_address(host)} --replication-address {replication_address(host)} "
                     f"--memory {HOST_MEMORY_MIB}")
            self._step(host, f"specrep-pool {'init lab' if host == 1 else f'join {management_address(1)}'} {where}")
            self._step(host, f"systemctl enable --now {SERVICES}")
            if host == 1:  # more than two hosts need an arbiter
                self._step(1, " ".join(["specrep-pool ha-enable timeout-ms=10000", *ha]))
        for number, guest in enumerate(self.guests, 1):
            # An emulated processor cannot do more, with three guests.
            self._step(1, f"specrep-pool vm-protect {guest.name} {parameters(number)} epoch-ms=2000")
        for host in lab.machines:
            self.lab.ssh(host, "sync")  # a power cut is to come

    def _step(self, host, command):
        start_s = time.monotonic()
        said = self.lab.ssh(host, command, COMMAND_TIMEOUT_S).stdout
        print(f"host {host}: {command}: {time.monotonic() - start_s:.1f} s\n{said}", end="")

    def status(self, host):
        """What the agent of a host says; nothing while it does not run."""
        answer = self.lab.ssh(host, """echo '{"ask":"status"}' | nc -UN /run/specrep/agent.sock""", check=False)
        return json.loads(answer.stdout) if answer.returncode == 0 and answer.stdout else None

    def wait_until_protected(self, on, by, timeout):
        """Waits until all guests run on a host and have their copies on the other. Returns how long that took, in s."""
        return self.wait_for(on, lambda guests: all((guest["host"], guest["backup"], guest["state"]) ==
                                                    (f"xen{on}", f"xen{by}", "protected") for guest in guests),
                             timeout, f"all guests on host {on}, protected by host {by}")

    def wait_for(self, host, predicate, timeout, what):
        """Waits until what a host's agent says of the guests is as wanted. Returns how long that took, in s."""
        start_s = time.monotonic()

        def is_so():
            status = self.status(host)
            return status and predicate(status["guests"])

        try:
            self.lab.wait_for(is_so, timeout, what)
        except AssertionError:
            for host in self.lab.machines:
                if self.lab.is_running(host):
                    print(f"host {host}: {self.lab.ssh(host, 'xl list; xl remus-spec-list').stdout}")
                    print(json.dumps(self.status(host), indent=1))
                    print(self.lab.ssh(host, "journalctl -q --no-pager -o short-monotonic -u 'specrep-*'").stdout)
            raise
        return time.monotonic() - start_s

    def count(self, guest, timeout=120):
        """One more of the guest's counter; it starts at 0 when the guest does."""
        return int(self.lab.ask(guest.address, "next", timeout))
