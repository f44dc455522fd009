"""specrep's Debian packages, and what else a test needs of Debian, on the hosts."""

import os
import shutil
import subprocess
import tempfile

from common import SOURCE_ROOT, LabError, phase, run
from network import HOSTS
from states import in_parallel

DPKG_TIMEOUT_S = 600
FOLDER = "/var/tmp/deb"  # on the hosts
# Not for hosts: what compilers and debuggers need.
UNUSED = ("-dbgsym", "-dev")
UPGRADE = "+upgrade"  # a version is followed by this in its successor
BUILT = SOURCE_ROOT / "build/deb"
CONFIGURED = BUILT / "configured"  # SPECREP_CONFIGURE as it was then (scripts/deb)
# What is in the packages, or makes it.
SOURCES = ("configure.ac", "Makefile.am", "debian", "doc", "libspecrep", "scripts", "tools", "xl-plugin")


def build():
    """Builds the packages, if need be; returns {name: path} of those for hosts, and of a version to upgrade to."""
    built = [path.stat().st_mtime for path in BUILT.glob("*.deb")]
    sources = (file for name in SOURCES for file in (SOURCE_ROOT / name, *(SOURCE_ROOT / name).rglob("*")))
    as_wanted = CONFIGURED.exists() and CONFIGURED.read_text() == os.environ.get("SPECREP_CONFIGURE", "")
    if not built or not as_wanted or min(built) < max(file.stat().st_mtime for file in sources if file.is_file()):
        version = run(["dpkg-parsechangelog", "-S", "Version", "-l", SOURCE_ROOT / "debian/changelog"],
                      "read debian/changelog").stdout.strip()
        _run_deb(SOURCE_ROOT, version + UPGRADE)
    first, second = (_for_hosts(path for path in BUILT.glob("*.deb") if (UPGRADE + "_" in path.name) == is_second)
                     for is_second in (False, True))
    if first.keys() != second.keys() or not first:
        raise LabError(f"{BUILT} has not the same packages in two versions: remove it")
    return first, second


def build_commit(commit):
    """Builds the packages of an earlier commit, if need be; returns {name: path} of those for hosts."""
    tree = SOURCE_ROOT / "build/deb-of" / commit
    built = tree / "build/deb"
    if not list(built.glob("*.deb")):
        shutil.rmtree(tree, ignore_errors=True)
        run(["git", "clone", "--quiet", "--no-checkout", SOURCE_ROOT, tree], "clone the repository")
        run(["git", "-C", tree, "checkout", "--quiet", commit], f"check out {commit}, which this repository must have")
        _run_deb(tree)
    return _for_hosts(built.glob("*.deb"))


def _run_deb(tree, *versions):
    options = os.environ.get("DEB_BUILD_OPTIONS", "nocheck parallel=2")
    run([tree / "scripts/deb", *versions], "build the Debian packages", env={**os.environ, "DEB_BUILD_OPTIONS": options})


def _for_hosts(paths):
    packages = {path.name.split("_")[0]: path for path in paths}
    return {name: path for name, path in packages.items() if not name.endswith(UNUSED)}


def dpkg(lab, host, arguments, check=True):
    return lab.ssh(host, f"DEBIAN_FRONTEND=noninteractive dpkg {arguments}", DPKG_TIMEOUT_S, check)


def install(lab, host, paths):
    """Installs packages, as one dpkg does, so that their order is dpkg's business."""
    _put_alone(lab, host, paths)
    return dpkg(lab, host, f"-i {FOLDER}/*.deb")


def install_strangers(lab, paths):
    """Installs Debian's packages on both hosts, without starting a service that comes with them.

    Some must be whole before others are unpacked: the second time they are.
    """
    def install_on(host):
        _put_alone(lab, host, paths)
        lab.ssh(host, "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d")
        dpkg(lab, host, f"--skip-same-version -i {FOLDER}/*.deb", check=False)
        dpkg(lab, host, f"--skip-same-version -i {FOLDER}/*.deb")
        lab.ssh(host, "rm /usr/sbin/policy-rc.d")

    in_parallel(install_on, HOSTS)


def _put_alone(lab, host, paths):
    lab.ssh(host, f"rm -rf {FOLDER}")
    lab.put(host, paths, FOLDER)


def install_everywhere(lab, packages=None):
    """Installs specrep on all hosts that have power; `packages`, {name: path}, if not of this source tree."""
    packages = packages or build()[0]
    hosts = [host for host in lab.machines if lab.is_running(host)]
    with phase(f"installing {', '.join(packages)} on the hosts"):
        in_parallel(lambda host: install(lab, host, packages.values()), hosts)


def fetch(lab, host, names, folder):
    """Downloads Debian's packages with these names, and what they need that the host lacks; returns the paths."""
    with tempfile.NamedTemporaryFile("w") as status:
        status.write(lab.ssh(host, "cat /var/lib/dpkg/status").stdout)
        status.flush()
        (folder / "partial").mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "--reinstall",
             "-o", f"Dir::State::status={status.name}", "-o", f"Dir::Cache::archives={folder}",
             "-o", "Debug::NoLocking=1", "install", *names],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise LabError(f"cannot download {' '.join(names)}:\n{done.stdout}")
    return sorted(folder.glob("*.deb"))
