"""Programs that measure on a host what specrep itself does not tell, or make fail what never does: probe/*.cc."""

import subprocess
import tempfile

from common import HERE, run

LIBRARIES = {
    "fault-cost": ["-lxenctrl"],
    "grant-writes": ["-lxenctrl", "-lxenforeignmemory"],
    "refuse-resume": ["-shared", "-fPIC"],
    "stopwatch": ["-lxenctrl"],
    "stream-count": [],
}


def install(lab, name):
    """Builds a probe, for the same Debian as the hosts', and puts it on host 1. Returns its path there."""
    with tempfile.TemporaryDirectory(prefix="specrep-probe-") as folder:
        program = f"{folder}/{name}"
        run(["g++", "-std=gnu++20", "-O2", "-o", program, HERE / "probe" / f"{name}.cc", *LIBRARIES[name]],
            f"build {name}")
        with open(program, "rb") as file:
            subprocess.run(lab.ssh_argv(1, f"cat >/root/{name}; chmod +x /root/{name}"), stdin=file, check=True)
    return f"/root/{name}"
