"""A pool of the lab's hosts: certificates and pool.conf, small guests, and what the agents say of them."""

import dataclasses
import json
import subprocess
import tempfile
import time
import uuid

from common import run
from network import HOSTS, management_address, replication_address

TLS = "/etc/specrep/tls"
SERVICES = "specrep-listener specrep-agent"
GUEST_MEMORY_MIB = 112
SERVICES_TIMEOUT_S = 180


@dataclasses.dataclass(frozen=True)
class Guest:
    name: str
    address: str
    uuid: str


class Pool:
    """Makes the hosts that have power a pool with some guests, which its agents start."""

    def __init__(self, lab, guests, ha=""):
        self.lab = lab
        self.guests = [Guest(f"small{n}", f"192.168.88.{60 + n}", str(uuid.UUID(int=n << 64 | 0x4000800000000000 + n)))
                       for n in range(1, guests + 1)]
        self._write("/etc/specrep/pool.conf", self._configuration(ha))
        self._make_certificates()
        for n, guest in enumerate(self.guests, 1):
            text = self.lab.ssh(1, "cat /root/pvh.cfg").stdout
            text = (text.replace('"pvh"\ntype', f'"{guest.name}"\nuuid = "{guest.uuid}"\ntype')
                    .replace("192.168.88.51", guest.address).replace("11:22:33", f"11:33:{n:02}")
                    .replace("memory = 160", f"memory = {GUEST_MEMORY_MIB}"))
            assert guest.uuid in text and guest.address in text, text
            self._write(f"/root/{guest.name}.cfg", text)
        for host in HOSTS:
            self.lab.ssh(host, f"systemctl enable --now {SERVICES} && sync", SERVICES_TIMEOUT_S)

    def _write(self, path, text, mode=0o600, hosts=HOSTS):
        for host in hosts:
            command = f"mkdir -p $(dirname {path}) && umask 077 && cat > {path} && chmod {mode:o} {path}"
            subprocess.run(self.lab.ssh_argv(host, command), input=text, text=True, check=True, timeout=60)

    def _configuration(self, ha):
        parts = [f'[pool]\nuuid = "{uuid.uuid4()}"\nname = "lab"\ngeneration = 1\n\n[ha]\ntimeout-ms = 3000\n{ha}']
        for host in HOSTS:
            parts.append(f'[[host]]\nuuid = "{uuid.uuid4()}"\nname = "xen{host}"\n'
                         f'role = "{"coordinator" if host == 1 else "supporter"}"\n'
                         f'management-address = "{management_address(host)}"\n'
                         f'replication-address = "{replication_address(host)}"\nmemory-mib = 800\n')
        for guest in self.guests:
            parts.append(f'[[vm]]\nname = "{guest.name}"\nuuid = "{guest.uuid}"\nconfig = "/root/{guest.name}.cfg"\n'
                         f'memory-mib = {GUEST_MEMORY_MIB + 20}\nprotection = "replicate"\npreferred-host = "xen1"\n')
        return "\n".join(parts)

    def _make_certificates(self):
        with tempfile.TemporaryDirectory() as folder:
            def openssl(*words):
                run(["openssl", *words], "make the pool's certificates", cwd=folder)

            new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "3650", "-subj", "/CN=lab")
            for host in HOSTS:
                openssl("req", *new_key, "-keyout", "key.pem", "-out", "request", "-subj", f"/CN=xen{host}")
                openssl("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                        "-days", "3650", "-out", "cert.pem")
                for name in ("ca.pem", "cert.pem", "key.pem"):
                    with open(f"{folder}/{name}") as file:
                        self._write(f"{TLS}/{name}", file.read(), hosts=[host])

    def status(self, host):
        """What the agent of a host says; nothing while it does not run."""
        answer = self.lab.ssh(host, """echo '{"ask":"status"}' | nc -UN /run/specrep/agent.sock""", check=False)
        return json.loads(answer.stdout) if answer.returncode == 0 and answer.stdout else None

    def wait_until_protected(self, on, by, timeout):
        """Waits until all guests run on a host and have their copies on the other. Returns how long that took, in s."""
        start_s = time.monotonic()

        def all_protected():
            status = self.status(on)
            return status and all((guest["host"], guest["backup"], guest["state"]) ==
                                  (f"xen{on}", f"xen{by}", "protected") for guest in status["guests"])

        try:
            self.lab.wait_for(all_protected, timeout, f"all guests on host {on}, protected by host {by}")
        except AssertionError:
            for host in HOSTS:
                if self.lab.is_running(host):
                    print(f"host {host}: {self.lab.ssh(host, 'xl list; xl remus-spec-list').stdout}")
                    print(json.dumps(self.status(host), indent=1))
                    print(self.lab.ssh(host, "journalctl -q --no-pager -o short-monotonic -u 'specrep-*'").stdout)
            raise
        return time.monotonic() - start_s

    def count(self, guest, timeout=120):
        """One more of the guest's counter; it starts at 0 when the guest does."""
        return int(self.lab.ask(guest.address, "next", timeout))
