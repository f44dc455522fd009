"""Programs that measure on a host what specrep itself does not tell, or make fail what never does: probe/*.cc."""

import subprocess
import tempfile

from common import HERE, run

LIBRARIES = {
    "fault-cost": ["-lxenctrl"],
    "grant-writes": ["-lxenctrl", "-lxenforeignmemory"],
    "heap-count": ["-shared", "-fPIC"],
    "refuse-resume": ["-shared", "-fPIC"],
    "stopwatch": ["-lxenctrl"],
    "stream-count": [],
}


def install(lab, name, hosts=(1,)):
    """Builds a probe, for the same Debian as the hosts', and puts it on these hosts. Returns its path there."""
    with tempfile.TemporaryDirectory(prefix="specrep-probe-") as folder:
        program = f"{folder}/{name}"
        run(["g++", "-std=gnu++20", "-O2", "-o", program, HERE / "probe" / f"{name}.cc", *LIBRARIES[name]],
            f"build {name}")
        for host in hosts:
            with open(program, "rb") as file:
                subprocess.run(lab.ssh_argv(host, f"cat >/root/{name}; chmod +x /root/{name}"), stdin=file, check=True)
    return f"/root/{name}"
