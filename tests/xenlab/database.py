"""The guest that runs PostgreSQL with its data on a replicated disk: that disk's image, and what starts the guest.

Its root file system is the workloads' image (workloads.py), which it only reads; it has the same script, because
Xen's own takes many seconds more, emulated. Its own files are in database-guest/.
"""

import os
import pathlib
import shutil
import tempfile

import image as host_image
import workloads
from common import HERE, cache_dir, digest, lock, phase, run
from network import DATABASE_GUEST, GUEST_ADDRESSES

RECIPE = HERE / "database-guest"
SOURCE = HERE / "database.py"
DISK_SIZE = "160M"

CONFIG = f"""\
# Runs PostgreSQL, whose data are on a replicated disk.
name = "{DATABASE_GUEST}"
type = "pvh"
kernel = "/root/vmlinux"
ramdisk = "/root/{DATABASE_GUEST}.cpio"
extra = "console=hvc0 quiet mitigations=off labaddress={GUEST_ADDRESSES[DATABASE_GUEST]}"
memory = 176
vcpus = 1
vif = ['mac=00:16:3e:11:22:77,bridge=xenbr0']
disk = ['/dev/vdb,raw,xvda,w,script=block-specrep', '/dev/vdc,raw,xvdb,r,script=block-specrep']
tsc_mode = "native"
"""


def ensure_image():
    """Returns the image of the replicated disk, made if missing."""
    root_disk = workloads.ensure_image()
    folder = cache_dir() / f"database-{digest([RECIPE / 'initialise', SOURCE], root_disk.parent.name)}"
    with lock(folder / "lock", f"another xenlab is making {folder}; waiting for it"):
        if not (folder / "disk.img").exists():
            with phase("making the database's disk"), tempfile.TemporaryDirectory(prefix="tmp-", dir=folder) as work:
                os.rename(_build(pathlib.Path(work), root_disk), folder / "disk.img")
    return folder / "disk.img"


def hosts_digest():
    """What a snapshot of the hosts depends on for this guest's sake."""
    return digest([RECIPE / "init", RECIPE / "serve.py", SOURCE])


def hosts_files(hosts_image, work):
    """The files that both hosts need in /root to start the guest: {name: where it is on this machine}."""
    config, own, both = (work / f"{DATABASE_GUEST}{suffix}" for suffix in (".cfg", "", ".cpio"))
    config.write_text(CONFIG)
    own.mkdir()
    for name in ("init", "serve.py"):
        shutil.copy(RECIPE / name, own)
    (own / "init").chmod(0o755)
    archive = work / "own.cpio"
    host_image._pack(own, archive)
    # The kernel unpacks one after the other, so that this guest's own init is the one that stays.
    both.write_bytes(workloads._make_initramfs(hosts_image, work).read_bytes() + archive.read_bytes())
    return {path.name: path for path in (config, both)}


def _build(work, root_disk):
    """Has the database made by the programs that will run it, with nothing to see of this machine but its CPUs."""
    root, content, disk = work / "root", work / "content", work / "disk.img"
    root.mkdir()
    content.mkdir(mode=0o755)
    script = ('mount -o loop,ro,noload "$1" "$2" && mount -t proc proc "$2/proc" && mount -t tmpfs tmpfs "$2/run" && '
              'mount -t tmpfs -o mode=1777 tmpfs "$2/dev/shm" && mount -t tmpfs -o mode=1777 tmpfs "$2/tmp" && '
              'mount --bind "$3" "$2/mnt" && cp "$4" "$2/run/initialise" && ip link set lo up && '
              'exec chroot "$2" sh /run/initialise')
    run(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh",
         root_disk, root, content, RECIPE / "initialise"], "make the database")
    run(["truncate", "-s", DISK_SIZE, disk], "make the database's disk")
    run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", content, disk], "fill the database's disk")
    return disk
