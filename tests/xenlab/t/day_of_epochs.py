"""As many epochs as 24 hours have leave memory and descriptors of the processes, and dom0's memory, as they were."""

import contextlib
import os
import subprocess

import growth
import probes
from network import HOSTS

GUEST = None
ON_REQUEST = True

# Of 200 ms, the default; half of them in each direction between the two hosts. They take two and a half hours or
# more.
EPOCHS = int(os.environ.get("SPECREP_EPOCHS", "432000"))
# The shortest epochs that there are. The cache of what was sent before is full within the first of them, and so does
# not grow any more; every so often the copy is compared with the guest.
OPTIONS = "-i 10 --timeout 15000 --delta-cache 1 --verify=100"
EPOCHS_PER_S_MIN = 1
# Linux takes most of an epoch of an emulated host to suspend itself. This one does nothing else.
CONFIG = """\
name = "quick{host}"
type = "pvh"
kernel = "{kernel}"
memory = 16
vcpus = 1
vif = ["mac=00:16:3e:11:22:9{host},bridge=xenbr0"]
tsc_mode = "native"
"""


def start_guest(lab, host, kernel):
    name, config = f"quick{host}", CONFIG.format(host=host, kernel=kernel)
    subprocess.run(lab.ssh_argv(host, f"cat >/root/{name}.cfg"), input=config, text=True, check=True)
    lab.ssh(host, f"xl create -q /root/{name}.cfg")
    lab.ssh(host, f'xenstore-write "/local/domain/$(xl domid {name})/control/feature-suspend" 1')
    # To ask Xen's clock takes a system call, dear on an emulated host: a quarter of all that an epoch makes.
    lab.ssh(host, "echo tsc >/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return name


def run(lab):
    kernel = probes.install(lab, "quick-guest", HOSTS)
    names = {host: start_guest(lab, host, kernel) for host in HOSTS}
    growth.count_heaps(lab)
    with contextlib.ExitStack() as stack:
        protections = [stack.enter_context(lab.protect(OPTIONS, name, host)) for host, name in names.items()]
        for protection in protections:
            protection.wait_until_protected()
        growth.follow(lab, protections, EPOCHS // len(protections), EPOCHS_PER_S_MIN)
        for protection in protections:
            protection.stop()
            summary = protection.summary()
            assert summary["verified_epochs"] > 0 and summary["pages_different"] == 0, summary
