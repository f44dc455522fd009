"""Guests that run real workloads: their one disk image, kept by the digest of its recipe (workload/), and how they start.

The databases, mailboxes and files are made in the image while it is built, natively. What a
guest needs from the hosts' image (the kernel's modules, busybox) goes into its initramfs.
"""

import json
import os
import pathlib
import re
import tempfile
import time

import image as host_image
from client import ask
from common import HERE, LabError, cache_dir, digest, lock, phase, run
from machine import GUEST_DISK_SIZE
from network import GUEST_ADDRESSES, WORKLOADS

RECIPE = HERE / "workload"
ADDRESS = GUEST_ADDRESSES[WORKLOADS[0]]

# In virtual time these keep the guest's CPU 30 to 50 % busy.
OPERATIONS_PER_S = {"oltp": 200, "fileserver": 650, "mail": 80, "redis": 2500, "compiler": 0.5,
                    "javascript": 200, "web": 250, "mariadb": 40, "java": 120,
                    "etcd": 80}
# In real time a host has so much less to give.
REAL_TIME_SLOWDOWN = 20
WARM_UP_S = 12
WARM_UP_OPERATIONS = 1
POLL_S = 2

CONFIG = """\
# Runs a workload from its own disk.
name = "{workload}"
type = "pvh"
kernel = "/root/vmlinux"
ramdisk = "/root/workload.cpio"
extra = "console=hvc0 quiet mitigations=off labaddress={address} workload={workload} rate={rate:g}"
memory = 768
vcpus = 1
vif = ['mac=00:16:3e:11:22:55,bridge=xenbr0']
disk = ['phy:/dev/vdb,xvda,w']
tsc_mode = "native"
"""


def ensure_image():
    """Returns the workloads' disk image, made if missing."""
    folder = cache_dir() / f"workloads-{_image_digest()}"
    with lock(folder / "lock", f"another xenlab is making {folder}; waiting for it"):
        if not (folder / "disk.img").exists():
            with phase("building the workloads' disk image"), \
                    tempfile.TemporaryDirectory(prefix="tmp-", dir=folder) as work:
                os.rename(_build(pathlib.Path(work)), folder / "disk.img")
    return folder / "disk.img"


def digest_of(workload):
    """What a snapshot of this workload depends on besides the hosts."""
    return digest([RECIPE / "initramfs-init"], _image_digest(), CONFIG, str(OPERATIONS_PER_S[workload]),
                  str(WARM_UP_S))


def guest_files(hosts_image, work, workload, virtual_time, full_load):
    """The files that dom0 needs in /root to start the guest: {name: where it is on this machine}."""
    rate = 0 if full_load else OPERATIONS_PER_S[workload] / (1 if virtual_time else REAL_TIME_SLOWDOWN)
    config = work / f"{workload}.cfg"
    config.write_text(CONFIG.format(workload=workload, address=ADDRESS, rate=rate))
    return {config.name: config, "workload.cpio": _make_initramfs(hosts_image, work)}


def warm_up(network, workload, timeout_s):
    """Waits until the workload has run for a while."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        facts = json.loads(ask(network, ADDRESS, "", timeout_s))
        if facts["running_s"] >= WARM_UP_S and facts["operations"] >= WARM_UP_OPERATIONS:
            return
        time.sleep(POLL_S)
    raise LabError(f"{workload} has not got going within {timeout_s} s: {facts}")


def _image_digest():
    files = [path for path in RECIPE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return digest([*files, HERE / "image.py"], GUEST_DISK_SIZE, _build_source())


def _build_source():
    """This file's part that the image depends on."""
    text = pathlib.Path(__file__).read_text()
    return text[text.index("def _build("):]


def _make_initramfs(hosts_image, work):
    folder = work / "initramfs"
    folder.mkdir()
    # Its modules, of the kernel that the guest runs, are in what the hosts and their guests boot with.
    dumped = work / "guest.cpio"
    run(["debugfs", "-R", f"dump /root/guest.cpio {dumped}", hosts_image / "base.img"], "take the guest's modules")
    for archive in (hosts_image / "initrd.img", dumped):
        run(["sh", "-c", 'cd "$1" && cpio --quiet -idu < "$2"', "sh", folder, archive], f"unpack {archive.name}")
    run(["cp", RECIPE / "initramfs-init", folder / "init"], "copy the recipe")
    for name in ("proc", "sys"):
        (folder / name).mkdir(exist_ok=True)
    packed = work / "workload.cpio"
    host_image._pack(folder, packed)
    return packed


def _build(work):
    root, disk = work / "root", work / "disk.img"
    with phase("installing Debian and the workloads into a folder"):
        _install(root)
    for workload in WORKLOADS:
        with phase(f"making the data of {workload}"):
            _initialise(root, workload)
    with phase("making the workloads' disk"):
        run(["truncate", "-s", GUEST_DISK_SIZE, disk], "make the disk image")
        run(["mke2fs", "-q", "-t", "ext4", "-d", root, disk], "fill the disk image")
    return disk


def _install(root):
    # Java's alternatives name manual pages, which are left out, in a folder that must be there.
    before = ('mkdir -p "$1/usr/share/man/man1" && '
              'mkdir -p "$1/etc/postgresql-common" && '
              'echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"')
    run(["mmdebstrap", "--variant=essential", "--mode=root", "--dpkgopt=force-confold",
         *[f"--dpkgopt=path-exclude={path}" for path in host_image.PATHS_EXCLUDED if path.startswith("/usr")],
         f"--setup-hook={before}", "--include=" + ",".join(_lines("packages.txt")),
         host_image.RELEASE, root, host_image._apt_sources()],
        "install Debian into the workloads' image")
    run(["cp", "-a", "--no-preserve=ownership", f"{RECIPE}/root/.", root], "copy the recipe")
    _fetch_sources(root.parent / "apt", root / "srv/compiler")


def _fetch_sources(apt, destination):
    """Takes the sources that are compiled from Debian, without a change to this machine's apt."""
    sources = pathlib.Path(host_image._apt_sources())
    for folder in ("sources", "lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    text = re.sub("^(Types: )?deb(?=\\s)", r"\1deb-src", sources.read_text(), flags=re.MULTILINE)
    (apt / "sources" / sources.name).write_text(text)
    apt_get = ["apt-get", "-q", "-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={apt}/sources",
               "-o", f"Dir::State::Lists={apt}/lists", "-o", f"Dir::Cache={apt}/cache", "-o", "APT::Sandbox::User=root"]
    run([*apt_get, "update"], "look for Debian's sources")
    names = _lines("sources.txt")
    run([*apt_get, "source", "--download-only", "--only-source", *names], "get Debian's sources", cwd=apt)
    for name in names:
        (destination / name).mkdir(parents=True)
        archive = next(apt.glob(f"{name}_*.orig.tar.*"))
        run(["tar", "-x", "--strip-components=1", "--no-same-owner", "-C", destination / name, "-f", archive],
            f"unpack {archive.name}")


def _lines(name):
    lines = (RECIPE / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _initialise(root, workload):
    """Runs the workload's own initialise() in the image, with nothing to see of this machine but its CPUs."""
    script = ('mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/run" && mount -t tmpfs tmpfs "$1/dev/shm" && '
              'ip link set lo up && exec chroot "$1" python3 -B /workload/initialise.py "$2"')
    for name in ("proc", "dev/shm"):
        (root / name).mkdir(parents=True, exist_ok=True)
    run(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", root, workload],
        f"make the data of {workload}")
