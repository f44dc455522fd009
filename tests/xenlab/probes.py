"""Programs that measure on a host what specrep itself does not tell, or do there what nothing else does: probe/*.cc."""

import subprocess
import tempfile

from common import HERE, run

OPTIONS = {
    "fault-cost": ["-lxenctrl"],
    "grant-writes": ["-lxenctrl", "-lxenforeignmemory"],
    "heap-count": ["-shared", "-fPIC"],
    "quick-guest": ["-m32", "-ffreestanding", "-fno-pic", "-fno-exceptions", "-fno-rtti", "-fno-stack-protector", "-mno-sse",
                    "-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,-Ttext-segment=0x100000", "-Wl,-e,start"],
    "read-log": ["-lxenctrl"],
    "refuse-resume": ["-shared", "-fPIC"],
    "stopwatch": ["-lxenctrl"],
    "stream-count": [],
}


def install(lab, name, hosts=(1,)):
    """Builds a probe, for the same Debian as the hosts', and puts it on these hosts. Returns its path there."""
    with tempfile.TemporaryDirectory(prefix="specrep-probe-") as folder:
        program = f"{folder}/{name}"
        run(["g++", "-std=gnu++20", "-O2", "-o", program, HERE / "probe" / f"{name}.cc", *OPTIONS[name]],
            f"build {name}")
        for host in hosts:
            with open(program, "rb") as file:
                subprocess.run(lab.ssh_argv(host, f"cat >/root/{name}; chmod +x /root/{name}"), stdin=file, check=True)
    return f"/root/{name}"
