"""A build with --enable-sanitizers=address,undefined on the hosts: what it needs there, and what it has to say.

A process that a sanitizer ends is started again by some of specrep, so that a test would pass; its report remains.
"""

import contextlib
import pathlib

from common import LabError, run

# A report's name is this, a dot and a pid; several processes may write one.
REPORTS = "/var/log/specrep-sanitizer"
# Memory that was freed is used again early. An emulator needs so long to clear that of a disk's messages that a host
# is silent for seconds.
OPTIONS = f"export ASAN_OPTIONS=log_path={REPORTS}:quarantine_size_mb=16 UBSAN_OPTIONS=log_path={REPORTS}\n"
COMPILER = "clang++"
RUNTIME = "libclang_rt.asan-x86_64.so"
PLUGIN = "specrep-disk-plugin.so"
FOLDER = "usr/local/sbin"


def stage(folder):
    """Adds to a staged build what it needs if it has sanitizers; without them, nothing.

    nbdkit is Debian's own: what a plugin needs of a sanitizer has to be in the program before the plugin is.
    """
    plugins = list(folder.rglob(PLUGIN))
    if not plugins or "__asan_init" not in run(["nm", "-D", plugins[0]], "read the disk plugin's symbols").stdout:
        return
    # What sshd's shell reads: all that a test starts on a host, and what that starts on the other, has it.
    (folder / "root").mkdir(mode=0o700)
    (folder / "root/.bashrc").write_text(OPTIONS)
    runtime = pathlib.Path(run([COMPILER, f"-print-file-name={RUNTIME}"], f"find {COMPILER}'s {RUNTIME}").stdout.strip())
    programs = folder / FOLDER
    programs.mkdir(parents=True, exist_ok=True)
    (programs / RUNTIME).write_bytes(runtime.read_bytes())
    nbdkit = programs / "nbdkit"
    nbdkit.write_text(f"#!/bin/sh\n{OPTIONS}ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 LD_PRELOAD=/{FOLDER}/{RUNTIME} "
                      'exec /usr/bin/nbdkit "$@"\n')
    nbdkit.chmod(0o755)


def found(lab):
    """Whether a sanitizer has said something on a host that still tells."""
    for host in filter(lab.is_running, lab.machines):
        with contextlib.suppress(LabError):
            if lab.ssh(host, f"ls {REPORTS}.*", check=False).returncode == 0:
                return True
    return False
