"""As many epochs as 24 hours have leave memory and descriptors of the processes, and dom0's memory, as they were."""

import os
import subprocess

import growth
import probes

GUEST = None
ON_REQUEST = True

# Of 200 ms, the default. At five to twenty a second, they take six hours to a day.
EPOCHS = int(os.environ.get("SPECREP_EPOCHS", "432000"))
# The shortest epochs that there are. The cache of what was sent before is full within the first of them, and so does
# not grow any more; every so often the copy is compared with the guest.
OPTIONS = "-i 10 --timeout 15000 --delta-cache 1 --verify=100"
EPOCHS_PER_S_MIN = 2
# Linux takes most of an epoch of an emulated host to suspend itself. This one does nothing else.
CONFIG = """\
name = "quick"
type = "pvh"
kernel = "{kernel}"
memory = 16
vcpus = 1
vif = ["mac=00:16:3e:11:22:99,bridge=xenbr0"]
tsc_mode = "native"
"""


def run(lab):
    kernel = probes.install(lab, "quick-guest")
    subprocess.run(lab.ssh_argv(1, "cat >/root/quick.cfg"), input=CONFIG.format(kernel=kernel), text=True, check=True)
    lab.ssh(1, "xl create -q /root/quick.cfg")
    lab.ssh(1, 'xenstore-write "/local/domain/$(xl domid quick)/control/feature-suspend" 1')
    growth.count_heaps(lab)
    with lab.protect(OPTIONS, "quick") as protection:
        protection.wait_until_protected()
        growth.follow(lab, protection, EPOCHS, EPOCHS_PER_S_MIN)
        protection.stop()
        summary = protection.summary()
        assert summary["verified_epochs"] > 0 and summary["pages_different"] == 0, summary
