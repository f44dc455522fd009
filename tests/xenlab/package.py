"""Brings the current build to the hosts: `make install` into a folder, one archive, unpacked on both."""

import os
import pathlib
import tempfile

import sanitizer
from common import LabError, build_dir, lock, phase, run
from states import in_parallel

UNPACK_TIMEOUT_S = 600
ELF_MAGIC = b"\x7fELF"
# Only compilers read these, and they are most of the bytes.
SUFFIXES_UNUSED = (".a", ".la")

# The hosts' /lib and /bin are links into /usr: a folder in the archive must not replace them.
# `systemctl enable` has systemd read units anew, which takes such a host 12 s; nothing else needs that.
UNPACK = "zstd -dc | tar -x -C / --no-same-owner --no-overwrite-dir --keep-directory-symlink && ldconfig"


def is_built():
    """Whether there is a build to install."""
    return (build_dir() / "Makefile").exists()


def make_package(folder):
    """Stages the build in `folder` and returns the archive."""
    if not is_built():
        raise LabError(f"nothing is built in {build_dir()}: run configure and make, or set SPECREP_BUILD_DIR")
    archive = pathlib.Path(folder) / "package.tar.zst"
    with tempfile.TemporaryDirectory(prefix="stage-", dir=folder) as name, phase("staging the build"):
        stage = pathlib.Path(name)
        # libtool links anew in the build folder what it installs.
        with lock(build_dir() / "xenlab-install.lock", f"another xenlab installs from {build_dir()}; waiting for it"):
            run(["make", "-s", "-C", build_dir(), "install", f"DESTDIR={stage}"], "install the build")
        sanitizer.stage(stage)
        _strip(stage)
        run(["tar", "-C", stage, "--sort=name", "-cf", archive, "-I", "zstd -3", "."], "pack the build")
    return archive


def install(shells, folder, package=None):
    """Unpacks the build (staged now, unless `package` is it already) on the hosts, {number: Shell}."""
    package = package or make_package(folder)

    def unpack(shell):
        with open(package, "rb") as archive:
            shell.run(UNPACK, UNPACK_TIMEOUT_S, stdin=archive)

    with phase(f"installing the build ({package.stat().st_size >> 10} KiB) on the hosts"):
        in_parallel(unpack, shells.values())


def _strip(stage):
    """Leaves out debugging symbols, which would take minutes to unpack under emulation."""
    programs = []
    for folder, _, names in os.walk(stage):
        for path in (pathlib.Path(folder) / name for name in names):
            if path.suffix in SUFFIXES_UNUSED:
                path.unlink()
            elif path.is_file() and not path.is_symlink() and path.open("rb").read(4) == ELF_MAGIC:
                programs.append(path)
    if programs:
        run(["strip", "--strip-unneeded", *programs], "strip the build")
