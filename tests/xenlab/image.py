"""Builds the one disk image that both Xen hosts run from, and keeps it by the digest of its recipe."""

import gzip
import lzma
import os
import pathlib
import shutil
import struct
import tempfile

from common import HERE, LabError, cache_dir, digest, lock, phase, run

DISK_SIZE = "8G"
RELEASE = "bookworm"

# Left out when packages are unpacked: most of the image's bytes, none of its use.
KERNEL_DRIVERS_UNUSED = (
    "ata bluetooth gpu hid hwmon iio infiniband input isdn leds media mmc mtd pcmcia platform "
    "power scsi sound staging target usb video net/ethernet net/wireless").split()
PATHS_EXCLUDED = (
    [f"/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")]
    + [f"/lib/modules/*/kernel/drivers/{name}/*" for name in KERNEL_DRIVERS_UNUSED]
    + ["/lib/modules/*/kernel/sound/*"])
PATHS_INCLUDED = [f"/lib/modules/*/kernel/drivers/{name}" for name in (
    "ata/ata_piix.ko", "ata/libata.ko", "net/ethernet/intel/e1000/*",
    "scsi/scsi_common.ko", "scsi/scsi_mod.ko", "scsi/sd_mod.ko")]

# What the kernel needs before it has its root disk, and what the guests need.
HOST_BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")
GUEST_MODULES = ("xen-netfront", "xen-blkfront", "e1000")
DISK_GUEST_MODULES = ("ext4", "ata_piix", "sd_mod")

# Of the guest with a replicated disk: a file system, and after it what it writes to without one (guest/journal.cpp).
REPLICATED_DISK = "replicated.img"
REPLICATED_DISK_SIZE = "128M"
REPLICATED_FILE_SYSTEM_SIZE = "64M"


def recipe_digest():
    files = [path for folder in ("recipe", "guest") for path in (HERE / folder).rglob("*")
             if path.is_symlink() or path.is_file()]
    return digest([*files, HERE / "image.py"])


def ensure_image():
    """Returns the folder of the image (base.img, xen.elf, vmlinux, initrd.img, id, replicated.img), made if missing."""
    parent = cache_dir() / recipe_digest()
    image = parent / "image"
    with lock(parent / "lock", f"another xenlab is making {parent}; waiting for it"):
        if not image.exists():
            with phase("building the hosts' disk image"), \
                    tempfile.TemporaryDirectory(prefix="tmp-image-", dir=parent) as work:
                _build(pathlib.Path(work))
                os.rename(pathlib.Path(work) / "out", image)
    return image


def _build(work):
    out, root = work / "out", work / "root"
    out.mkdir()
    with phase("installing Debian and Xen into a folder"):
        _install_packages(root)
    with phase("adding the lab's own files"):
        _configure(root, out)
        _make_guest(root, work / "guest")
        _make_disk_guest(root, work / "disk-guest")
        _make_boot_files(root, work / "initramfs", out)
    with phase("making the disk"):
        disk = out / "base.img"
        run(["truncate", "-s", DISK_SIZE, disk], "make the disk image")
        run(["mke2fs", "-q", "-t", "ext4", "-N", "65536", "-d", root, disk], "fill the disk image")
        replicated = out / REPLICATED_DISK
        run(["truncate", "-s", REPLICATED_DISK_SIZE, replicated], "make the replicated disk")
        run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", replicated, REPLICATED_FILE_SYSTEM_SIZE],
            "make the replicated disk's file system")


def _packages():
    lines = (HERE / "recipe/packages.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _apt_sources():
    """The machine's own Debian sources, so that the lab is installed from wherever it is."""
    for path in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"):
        if os.path.exists(path) and RELEASE in pathlib.Path(path).read_text():
            return path
    raise LabError(f"cannot find Debian {RELEASE} in /etc/apt/sources.list.d/debian.sources "
                   "or /etc/apt/sources.list; add it there")


def _install_packages(root):
    # The lab has an initramfs of its own, so Debian's generator is told not to make one.
    no_initramfs = ('mkdir -p "$1/etc/initramfs-tools" && '
                    'echo update_initramfs=no > "$1/etc/initramfs-tools/update-initramfs.conf"')
    run(["mmdebstrap", "--variant=essential", "--mode=root", "--dpkgopt=force-confold",
         *[f"--dpkgopt=path-exclude={path}" for path in PATHS_EXCLUDED],
         *[f"--dpkgopt=path-include={path}" for path in PATHS_INCLUDED],
         f"--setup-hook={no_initramfs}",
         "--include=" + ",".join(_packages()), RELEASE, root, _apt_sources()],
        "install Debian into the image")


def _configure(root, out):
    run(["cp", "-a", "--no-preserve=ownership", f"{HERE}/recipe/dom0/.", root], "copy the recipe")
    (root / "root").chmod(0o700)
    for line in (HERE / "recipe/masked-units.txt").read_text().splitlines():
        if not line.startswith("#"):
            unit = root / "etc/systemd/system" / line
            unit.unlink(missing_ok=True)
            unit.symlink_to("/dev/null")
    default_target = root / "etc/systemd/system/default.target"
    default_target.symlink_to("/lib/systemd/system/multi-user.target")

    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "xenlab", "-f", out / "id"],
        "make the lab's ssh key")
    ssh = root / "root/.ssh"
    shutil.copy(out / "id", ssh / "id_ed25519")
    shutil.copy(out / "id.pub", ssh / "authorized_keys")
    ssh.chmod(0o700)
    for path in ssh.iterdir():
        path.chmod(0o600)


def _module_files(root, names):
    """The files of kernel modules with what they depend on, in the order of loading."""
    release = next((root / "usr/lib/modules").iterdir()).name
    files = []
    for name in names:
        shown = run(["chroot", root, "modprobe", "-S", release, "--show-depends", name],
                    f"find the kernel module {name}").stdout
        for line in shown.splitlines():
            path = root / line.split()[1].lstrip("/")
            if line.startswith("insmod") and path not in files:
                files.append(path)
    return files


def _pack(folder, archive):
    """Uncompressed, because unpacking costs more than reading under emulation."""
    run(["sh", "-c", 'cd "$1" && find . | cpio --quiet -o -H newc > "$2"', "sh", folder, archive],
        f"pack {archive.name}")


def _make_guest(root, guest):
    for name in ("bin", "dev", "lib", "proc", "sys"):
        (guest / name).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", guest / "bin/busybox")
    shutil.copy(HERE / "guest/init", guest / "init")
    (guest / "init").chmod(0o755)
    _compile("counter", guest)
    for path in _module_files(root, GUEST_MODULES):
        shutil.copy(path, guest / "lib")
    _pack(guest, root / "root/guest.cpio")
    run(["gcc", "-m32", "-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,-Ttext-segment=0x100000", "-Wl,-e,start",
         HERE / "guest/nosuspend.S", "-o", root / "root/nosuspend.elf"], "assemble the guest that cannot be suspended")


def _make_disk_guest(root, folder):
    """What the guest with a disk has besides: an archive that the kernel unpacks after the other."""
    for name in ("bin", "disk", "lib/disk"):
        (folder / name).mkdir(parents=True)
    _compile("journal", folder)
    modules = _module_files(root, DISK_GUEST_MODULES)
    for path in modules:
        shutil.copy(path, folder / "lib/disk")
    (folder / "lib/disk/order").write_text("\n".join(path.name for path in modules))
    archive = folder.parent / "disk.cpio"
    _pack(folder, archive)
    (root / "root/disk.cpio").write_bytes((root / "root/guest.cpio").read_bytes() + archive.read_bytes())


def _compile(program, folder):
    run(["g++", "-std=c++17", "-Wall", "-Wextra", "-static", "-O2", "-s",
         HERE / f"guest/{program}.cpp", "-o", folder / "bin" / program], f"compile the guest's {program}")


def _make_boot_files(root, initramfs, out):
    vmlinuz = next((root / "boot").glob("vmlinuz-*"))
    shutil.copy(vmlinuz, root / "root/vmlinuz")
    _unpack_kernel(vmlinuz, out / "vmlinux")
    shutil.copy(out / "vmlinux", root / "root/vmlinux")
    # QEMU's -kernel takes the 32-bit multiboot ELF, not its gzip.
    (out / "xen.elf").write_bytes(gzip.decompress((root / "boot/xen-4.17-amd64.gz").read_bytes()))

    for name in ("bin", "dev", "lib", "root"):
        (initramfs / name).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", initramfs / "bin/busybox")
    shutil.copy(HERE / "recipe/initramfs-init", initramfs / "init")
    (initramfs / "init").chmod(0o755)
    modules = _module_files(root, HOST_BOOT_MODULES)
    for path in modules:
        shutil.copy(path, initramfs / "lib")
    (initramfs / "modules.order").write_text("\n".join(path.name for path in modules))
    _pack(initramfs, out / "initrd.img")


def _unpack_kernel(vmlinuz, vmlinux):
    """Takes the ELF file out of a bzImage, because Xen takes seconds to do so under emulation.

    The fields are payload_offset and payload_length of the kernel's boot protocol
    (Documentation/x86/boot.rst); the payload ends with its unpacked size in 4 bytes.
    """
    image = vmlinuz.read_bytes()
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    vmlinux.write_bytes(lzma.decompress(image[start:start + length - 4]))
